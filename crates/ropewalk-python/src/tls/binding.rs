//! OpenSSL as pyOpenSSL has it: functions by the addresses that cryptography's cffi module exports,
//! objects by the pointers that pyOpenSSL's connection holds.
//!
//! It knows no Twisted, no transport and no queue. Whatever cffi does not vouch for (another kind of
//! module, another prototype, another type of pointer) is an error here, and the caller then leaves
//! the connection to pyOpenSSL.

use std::ffi::{c_int, c_void};
use std::mem;
use std::ptr;

use pyo3::exceptions::{PyRuntimeError, PyTypeError};
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;

type Transfer = unsafe extern "C" fn(*mut c_void, *mut c_void, c_int) -> c_int;
type Inquiry = unsafe extern "C" fn(*mut c_void, c_int) -> c_int;

/// Five functions of OpenSSL, and the two answers that are no errors.
struct Functions {
    ssl_read: Transfer,
    ssl_write: Transfer,
    ssl_get_error: Inquiry,
    bio_read: Transfer,
    bio_write: Transfer,
    want_read: c_int,
    zero_return: c_int,
}

/// The signatures in cffi's words, which leave `const` out.
const OF_SSL: &str = "int(*)(SSL *, void *, int)";
const OF_BIO: &str = "int(*)(BIO *, void *, int)";
const OF_ERROR: &str = "int(*)(SSL *, int)";

static FUNCTIONS: PyOnceLock<Functions> = PyOnceLock::new();

impl Functions {
    /// Looks them up in the OpenSSL that `OpenSSL.SSL` uses.
    fn find(py: Python<'_>) -> PyResult<Self> {
        let cffi = Cffi::of_pyopenssl(py)?;
        let constant = |name: &str| cffi.library.getattr(name)?.extract();
        Ok(Self {
            ssl_read: cffi.transfer("SSL_read", OF_SSL)?,
            ssl_write: cffi.transfer("SSL_write", OF_SSL)?,
            ssl_get_error: cffi.inquiry("SSL_get_error", OF_ERROR)?,
            bio_read: cffi.transfer("BIO_read", OF_BIO)?,
            bio_write: cffi.transfer("BIO_write", OF_BIO)?,
            want_read: constant("SSL_ERROR_WANT_READ")?,
            zero_return: constant("SSL_ERROR_ZERO_RETURN")?,
        })
    }
}

/// cffi's view of the OpenSSL in use.
struct Cffi<'py> {
    ffi: Bound<'py, PyAny>,
    /// The names that `OpenSSL.SSL` calls: a plain module in front of the library.
    library: Bound<'py, PyAny>,
    backend: Bound<'py, PyAny>,
}

impl<'py> Cffi<'py> {
    fn of_pyopenssl(py: Python<'py>) -> PyResult<Self> {
        let module = py.import(intern!(py, "OpenSSL.SSL"))?;
        let cffi = Self {
            ffi: module.getattr(intern!(py, "_ffi"))?,
            library: module.getattr(intern!(py, "_lib"))?,
            backend: py.import(intern!(py, "_cffi_backend"))?.into_any(),
        };
        cffi.expect_class(&cffi.ffi, "FFI")?;
        Ok(cffi)
    }

    fn expect_class(&self, object: &Bound<'py, PyAny>, class: &str) -> PyResult<()> {
        if object.get_type().is(&self.backend.getattr(class)?) {
            return Ok(());
        }
        let text = format!("{} is no {class} of cffi", object.get_type());
        Err(PyTypeError::new_err(text))
    }

    fn transfer(&self, name: &str, prototype: &str) -> PyResult<Transfer> {
        let address = self.function(name, prototype)?;
        // SAFETY: cffi, which compiled the call against OpenSSL's header, says that the address is a
        // function of this prototype. Its library stays loaded as long as the interpreter.
        Ok(unsafe { mem::transmute::<*mut c_void, Transfer>(address) })
    }

    fn inquiry(&self, name: &str, prototype: &str) -> PyResult<Inquiry> {
        let address = self.function(name, prototype)?;
        // SAFETY: as in `transfer`.
        Ok(unsafe { mem::transmute::<*mut c_void, Inquiry>(address) })
    }

    /// The address of the function that pyOpenSSL calls by `name`.
    fn function(&self, name: &str, prototype: &str) -> PyResult<*mut c_void> {
        let library = self.library.getattr(name)?.getattr("__self__")?;
        self.expect_class(&library, "Lib")?;
        let function = self.ffi.call_method1("addressof", (library, name))?;
        self.address(&function, prototype)
    }

    /// Where a cffi pointer points to, if its type is `c_type`.
    fn address(&self, pointer: &Bound<'py, PyAny>, c_type: &str) -> PyResult<*mut c_void> {
        let py = pointer.py();
        let found = self.ffi.call_method1(intern!(py, "typeof"), (pointer,))?;
        let found: String = found.getattr(intern!(py, "cname"))?.extract()?;
        if found != c_type {
            let text = format!("a `{found}` is in the place of a `{c_type}`");
            return Err(PyTypeError::new_err(text));
        }
        let number = self
            .ffi
            .call_method1(intern!(py, "cast"), (intern!(py, "uintptr_t"), pointer))?;
        let number: usize = number.call_method0(intern!(py, "__int__"))?.extract()?;
        if number == 0 {
            return Err(PyTypeError::new_err(format!("a null `{c_type}`")));
        }
        Ok(ptr::with_exposed_provenance_mut(number))
    }
}

/// How an operation on a session ended.
pub(super) enum Step {
    /// So many bytes were read or written; at least one.
    Done(usize),
    /// More ciphertext has to come first.
    WantsInput,
    /// The peer has said that it sends no more.
    Closed,
    /// OpenSSL's answer; [`Session::error`] has to be asked at once, for what went wrong is kept
    /// with the thread.
    Failed(c_int),
}

/// One TLS session of pyOpenSSL's, over two memory BIOs.
///
/// OpenSSL may call Python from within each operation (callbacks of the context), so no caller may
/// hold a borrow that Python code could run into.
pub(super) struct Session {
    functions: &'static Functions,
    ssl: *mut c_void,
    incoming: *mut c_void,
    outgoing: *mut c_void,
    /// cffi's object around `ssl`, which frees it, and both BIOs with it, when it goes.
    pointer: Py<PyAny>,
    /// pyOpenSSL's connection.
    connection: Py<PyAny>,
}

impl Session {
    /// The session behind a connection of `OpenSSL.SSL`.
    ///
    /// # Errors
    ///
    /// An exception that says what is not as it is known to be.
    pub(super) fn of(connection: &Bound<'_, PyAny>) -> PyResult<Self> {
        let py = connection.py();
        let functions = FUNCTIONS.get_or_try_init(py, || Functions::find(py))?;
        let cffi = Cffi::of_pyopenssl(py)?;
        let pointer = connection.getattr(intern!(py, "_ssl"))?;
        let incoming = connection.getattr(intern!(py, "_into_ssl"))?;
        let outgoing = connection.getattr(intern!(py, "_from_ssl"))?;
        Ok(Self {
            functions,
            ssl: cffi.address(&pointer, "SSL *")?,
            incoming: cffi.address(&incoming, "BIO *")?,
            outgoing: cffi.address(&outgoing, "BIO *")?,
            pointer: pointer.unbind(),
            connection: connection.clone().unbind(),
        })
    }

    /// pyOpenSSL's connection.
    pub(super) fn connection<'py>(&self, py: Python<'py>) -> &Bound<'py, PyAny> {
        self.connection.bind(py)
    }

    /// Every Python object that the session keeps alive.
    pub(super) fn kept(&self) -> [&Py<PyAny>; 2] {
        [&self.pointer, &self.connection]
    }

    /// Hands over ciphertext that came in. False if OpenSSL did not take all of it.
    pub(super) fn put_ciphertext(&self, _: Python<'_>, ciphertext: &[u8]) -> bool {
        let length = room(ciphertext.len());
        // SAFETY: `incoming` belongs to the session, which `pointer` keeps; the call reads `length`
        // bytes of the slice and writes none, though its prototype does not say so to cffi.
        let taken = unsafe {
            let start = ciphertext.as_ptr().cast_mut().cast();
            (self.functions.bio_write)(self.incoming, start, length)
        };
        usize::try_from(taken) == Ok(ciphertext.len())
    }

    /// Takes ciphertext that is to go out into `into`; answers how much there was, 0 for none.
    pub(super) fn take_ciphertext(&self, _: Python<'_>, into: &mut [u8]) -> usize {
        // SAFETY: `outgoing` belongs to the session, which `pointer` keeps; the call writes at most
        // as many bytes as the slice has.
        let taken = unsafe {
            let start = into.as_mut_ptr().cast();
            (self.functions.bio_read)(self.outgoing, start, room(into.len()))
        };
        usize::try_from(taken).unwrap_or(0)
    }

    /// Decrypts what came in. `into` is not empty.
    pub(super) fn read(&self, _: Python<'_>, into: &mut [u8]) -> Step {
        // SAFETY: `ssl` is kept by `pointer`, and this thread, which is attached, is the only one
        // that uses it now; the call writes at most as many bytes as the slice has. Python code that
        // OpenSSL calls back cannot reach the slice.
        let result = unsafe {
            let start = into.as_mut_ptr().cast();
            (self.functions.ssl_read)(self.ssl, start, room(into.len()))
        };
        self.judge(result)
    }

    /// Encrypts `plaintext`, which is not empty: all of it or nothing.
    pub(super) fn write(&self, _: Python<'_>, plaintext: &[u8]) -> Step {
        // SAFETY: as in `read`; the call reads the slice and writes nothing to it.
        let result = unsafe {
            let start = plaintext.as_ptr().cast_mut().cast();
            (self.functions.ssl_write)(self.ssl, start, room(plaintext.len()))
        };
        self.judge(result)
    }

    fn judge(&self, result: c_int) -> Step {
        if let Ok(count @ 1..) = usize::try_from(result) {
            return Step::Done(count);
        }
        // SAFETY: `ssl` is kept by `pointer`; the call looks at it and at the thread's errors.
        let error = unsafe { (self.functions.ssl_get_error)(self.ssl, result) };
        match error {
            _ if error == self.functions.want_read => Step::WantsInput,
            _ if error == self.functions.zero_return => Step::Closed,
            _ => Step::Failed(result),
        }
    }

    /// The exception that pyOpenSSL has for `result`, the answer of the operation just made.
    pub(super) fn error(&self, py: Python<'_>, result: c_int) -> PyErr {
        let raised = self
            .connection(py)
            .call_method1(intern!(py, "_raise_ssl_error"), (&self.pointer, result));
        match raised {
            Err(error) => error,
            Ok(_) => PyRuntimeError::new_err("OpenSSL failed, and pyOpenSSL knows no reason"),
        }
    }
}

/// A length as OpenSSL counts: what does not fit is left for another call.
fn room(length: usize) -> c_int {
    c_int::try_from(length).unwrap_or(c_int::MAX)
}

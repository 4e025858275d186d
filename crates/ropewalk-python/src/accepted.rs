//! How an accepted connection begins: what Twisted's `tcp.Server` does when it is made.

use std::cell::RefCell;

use pyo3::prelude::*;
use pyo3::types::{PyString, PyTuple};
use pyo3::{PyTraverseError, PyVisit, intern};

use crate::member::{Member, missing};
use crate::stream::Stream;
use crate::twisted;

#[pymethods]
impl Stream {
    /// Starts as the transport of `protocol`, as Twisted's `tcp.Server` does when it is made; the
    /// descriptor is in place already.
    #[pyo3(name = "_begin", signature = (protocol, client, server, sessionno, reactor = None))]
    pub(crate) fn begin(
        slf: &Bound<'_, Self>,
        protocol: &Bound<'_, PyAny>,
        client: &Bound<'_, PyTuple>,
        server: &Bound<'_, PyAny>,
        sessionno: &Bound<'_, PyAny>,
        reactor: Option<Bound<'_, PyAny>>,
    ) -> PyResult<()> {
        let py = slf.py();
        let reactor = match reactor {
            Some(reactor) => reactor,
            None => server.getattr(intern!(py, "reactor"))?,
        };
        let core = reactor.getattr(intern!(py, "_core"))?;
        Self::attach(slf, core.cast()?)?;
        let hostname = client.get_item(0)?;
        let this = slf.as_any();
        this.setattr(intern!(py, "reactor"), reactor)?;
        this.setattr(intern!(py, "client"), client)?;
        this.setattr(intern!(py, "hostname"), &hostname)?;
        this.setattr(intern!(py, "server"), server)?;
        this.setattr(intern!(py, "sessionno"), sessionno)?;
        if client.len() == 4 {
            let ipv6 = twisted::names(py)?.ipv6_address.bind(py);
            this.setattr(intern!(py, "_addressType"), ipv6)?;
        }
        let state = slf.get().state(py);
        let old = state.protocol.replace(Some(protocol.clone().unbind()));
        drop(old);
        let (name, prefix) = log_prefix(slf, protocol)?;
        let prefix = prefix_of_session(&prefix, sessionno, &hostname)?;
        let old = state.logstr.replace(Some(prefix.unbind()));
        drop(old);
        if !server.is_none() {
            let number = server.getattr(intern!(py, "_realPortNumber"))?;
            let name = match name {
                Some(name) => name,
                None => class_name(protocol)?,
            };
            state.label.begin(&name, sessionno, &number);
        }
        Self::set_reading(slf, true)?;
        state.flags.connected.set(true);
        Ok(())
    }

    /// What `repr` says of an accepted stream: made when somebody looks, for hardly anybody does.
    #[getter]
    fn repstr<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, PyAny>> {
        let text = slf.get().state(slf.py()).label.text(slf.py());
        text.ok_or_else(|| missing(slf.as_any(), "repstr"))
    }

    #[setter(repstr)]
    fn set_repstr(&self, py: Python<'_>, text: &Bound<'_, PyAny>) {
        self.state(py).label.set(Words::Said(text.clone().unbind()));
    }

    #[deleter(repstr)]
    fn del_repstr(slf: &Bound<'_, Self>) -> PyResult<()> {
        match slf.get().state(slf.py()).label.set(Words::None) {
            Words::None => Err(missing(slf.as_any(), "repstr")),
            Words::Known(_) | Words::Said(_) => Ok(()),
        }
    }
}

/// `repstr` of an accepted stream, or what it is made of.
#[derive(Default)]
pub(crate) struct Label(RefCell<Words>);

#[derive(Default)]
enum Words {
    #[default]
    None,
    Known(Box<Known>),
    Said(Py<PyAny>),
}

/// The protocol's class, the number of the session, and of the port, as they were at the beginning.
struct Known {
    name: Py<PyAny>,
    session: Py<PyAny>,
    port: Py<PyAny>,
}

impl Label {
    fn begin(&self, name: &Bound<'_, PyAny>, session: &Bound<'_, PyAny>, port: &Bound<'_, PyAny>) {
        let known = Known {
            name: name.clone().unbind(),
            session: session.clone().unbind(),
            port: port.clone().unbind(),
        };
        self.set(Words::Known(Box::new(known)));
    }

    /// Answers what it was, to be dropped when nothing is borrowed.
    fn set(&self, words: Words) -> Words {
        self.0.replace(words)
    }

    fn text<'py>(&self, py: Python<'py>) -> Option<Bound<'py, PyAny>> {
        let text = match &*self.0.borrow() {
            Words::None => return None,
            Words::Said(text) => return Some(text.bind(py).clone()),
            Words::Known(known) => {
                let (name, session) = (known.name.bind(py), known.session.bind(py));
                format!("<{name} #{session} on {}>", known.port.bind(py))
            }
        };
        Some(PyString::new(py, &text).into_any())
    }

    pub(crate) fn traverse(&self, visit: &PyVisit<'_>) -> Result<(), PyTraverseError> {
        match self.0.try_borrow().as_deref() {
            Ok(Words::Said(text)) => visit.call(text),
            // Texts and numbers refer to nothing.
            _ => Ok(()),
        }
    }

    pub(crate) fn clear(&self) {
        let words = self.set(Words::None);
        drop(words);
    }
}

/// The prefix of a protocol's log lines, as `_getLogPrefix` of Twisted's transports has it. Before it,
/// the name of the protocol's class, if it was asked.
fn log_prefix<'py>(
    transport: &Bound<'py, Stream>,
    protocol: &Bound<'py, PyAny>,
) -> PyResult<(Option<Bound<'py, PyAny>>, Bound<'py, PyAny>)> {
    let py = transport.py();
    let names = twisted::names(py)?;
    let ask = intern!(py, "_getLogPrefix");
    let plain = transport.get_type().getattr(ask)?.is(&names.log_prefix_of)
        && twisted::has_method(
            protocol,
            intern!(py, "logPrefix"),
            &names.protocol_log_prefix,
        )?;
    if !plain {
        return Ok((None, transport.call_method1(ask, (protocol,))?));
    }
    // Twisted's method has the same answer for a protocol whose `logPrefix` is not asked.
    let name = class_name(protocol)?;
    Ok((Some(name.clone()), name))
}

/// `object.__class__.__name__`.
fn class_name<'py>(object: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
    let py = object.py();
    let class = object.getattr(intern!(py, "__class__"))?;
    class.getattr(intern!(py, "__name__"))
}

/// `f"{prefix},{sessionno},{hostname}"`.
fn prefix_of_session<'py>(
    prefix: &Bound<'py, PyAny>,
    sessionno: &Bound<'py, PyAny>,
    hostname: &Bound<'py, PyAny>,
) -> PyResult<Bound<'py, PyAny>> {
    let py = prefix.py();
    let text = match (
        plain_text(prefix),
        sessionno.extract::<u64>(),
        plain_text(hostname),
    ) {
        (Some(prefix), Ok(number), Some(host)) => {
            let number = number.to_string();
            let mut text = String::with_capacity(prefix.len() + number.len() + host.len() + 2);
            for part in [prefix, ",", &number, ",", host] {
                text.push_str(part);
            }
            text
        }
        _ => format!("{prefix},{sessionno},{hostname}"),
    };
    Ok(PyString::new(py, &text).into_any())
}

/// Text without lone surrogates, which a path may have.
fn plain_text<'a>(text: &'a Bound<'_, PyAny>) -> Option<&'a str> {
    text.cast_exact::<PyString>().ok()?.to_str().ok()
}

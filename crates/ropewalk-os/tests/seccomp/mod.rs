//! A filter of system calls, as containers have them, for a thread of a test. It plays old kernels
//! as well: these answer `ENOSYS`.

/// From now on `calls` fail with `errno` in this thread, and in what it starts. See seccomp(2).
pub(crate) fn refuse(calls: &[libc::c_long], errno: i32) {
    let statement = |code: u32, jf: u8, k: u32| libc::sock_filter {
        code: u16::try_from(code).unwrap(),
        jt: 0,
        jf,
        k,
    };
    let errno = u32::try_from(errno).unwrap();
    // The number of the call is the first field of `seccomp_data`.
    let mut program = vec![statement(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, 0, 0)];
    for call in calls {
        let number = u32::try_from(*call).unwrap();
        program.extend([
            statement(libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K, 1, number),
            statement(
                libc::BPF_RET | libc::BPF_K,
                0,
                libc::SECCOMP_RET_ERRNO | errno,
            ),
        ]);
    }
    program.push(statement(
        libc::BPF_RET | libc::BPF_K,
        0,
        libc::SECCOMP_RET_ALLOW,
    ));
    let filter = libc::sock_fprog {
        len: u16::try_from(program.len()).unwrap(),
        filter: program.as_mut_ptr(),
    };
    // SAFETY: the program lives through the call, which copies it, and its length is its own.
    unsafe {
        assert_eq!(libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), 0);
        let mode = libc::SECCOMP_MODE_FILTER;
        assert_eq!(libc::prctl(libc::PR_SET_SECCOMP, mode, &filter), 0);
    }
}

//! A client whose server's bytes are tampered with.
#![no_main]

use libfuzzer_sys::fuzz_target;
use ropewalk_fuzz::tls;

fuzz_target!(|input: &[u8]| {
    if let Some(tampering) = tls::Tampering::parse(input) {
        let version = tampering.version();
        tls::run(tls::client(version), || tls::server(version), &tampering);
    }
});

//! Names the families of systems that `#[cfg]` speaks of.

/// The systems with `kqueue(2)`.
const KQUEUE: [&str; 6] = ["freebsd", "dragonfly", "netbsd", "openbsd", "macos", "ios"];

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rustc-check-cfg=cfg(kqueue)");
    let target = std::env::var("CARGO_CFG_TARGET_OS");
    if target.is_ok_and(|os| KQUEUE.contains(&os.as_str())) {
        println!("cargo::rustc-cfg=kqueue");
    }
}

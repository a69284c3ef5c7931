//! How the program is linked, where the linker is the one that comes with the toolchain (x86-64 Linux): functions that
//! came out the same are kept once, and relocations are packed. Both only make the file smaller; docs/decisions/0016
//! says why it matters. Packed relocations need glibc 2.36 (2022) or newer.

#![expect(clippy::disallowed_methods, reason = "it is how cargo says something to a build script")]

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    let is = |name: &str, value: &str| std::env::var(name).is_ok_and(|it| it == value);
    if is("TARGET", "x86_64-unknown-linux-gnu") && is("PROFILE", "release") {
        println!("cargo::rustc-link-arg-bin=intail=-Wl,--icf=all");
        println!("cargo::rustc-link-arg-bin=intail=-Wl,-z,pack-relative-relocs");
    }
}

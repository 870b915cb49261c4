// SPDX-License-Identifier: GPL-3.0-or-later
//! Embeds the kernel adaptations (a new file in `data/adaptations` is enough, no code names it); compiles the first
//! process of lab guests into a static program that is embedded too; and the assistant's resources, when there is an
//! assistant.

use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

type Error = Box<dyn std::error::Error>;

fn main() -> Result<(), Error> {
    adaptations()?;
    #[cfg(feature = "gui")]
    resources();
    init()
}

/// Everything that the assistant shows beside its code: one bundle, in the program itself.
#[cfg(feature = "gui")]
fn resources() {
    println!("cargo::rerun-if-changed=resources");
    glib_build_tools::compile_resources(
        &["resources"],
        "resources/resources.gresource.xml",
        "hostwright.gresource",
    );
}

fn adaptations() -> Result<(), Error> {
    let dir = Path::new(&std::env::var("CARGO_MANIFEST_DIR")?).join("data/adaptations");
    println!("cargo::rerun-if-changed={}", dir.display());
    let mut paths: Vec<_> =
        std::fs::read_dir(&dir)?.map(|e| e.map(|e| e.path())).collect::<Result<_, _>>()?;
    paths.retain(|p| p.extension().is_some_and(|e| e == "toml"));
    paths.sort();
    let mut code = String::from("pub(super) static FILES: &[(&str, &str)] = &[\n");
    for path in &paths {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        println!("cargo::rerun-if-changed={}", path.display());
        writeln!(code, "    ({name:?}, include_str!({:?})),", path.display().to_string())?;
    }
    code.push_str("];\n");
    std::fs::write(Path::new(&std::env::var("OUT_DIR")?).join("adaptations.rs"), code)?;
    Ok(())
}

/// Compiles `src/bin/hostwright-init.rs` with nothing but the standard library. Cargo cannot do it: a static
/// program needs other flags than the rest, and the library embeds it before its own binaries exist.
fn init() -> Result<(), Error> {
    let dir = PathBuf::from(std::env::var("CARGO_MANIFEST_DIR")?);
    let main = dir.join("src/bin/hostwright-init.rs");
    println!("cargo::rerun-if-changed={}", main.display());
    println!("cargo::rerun-if-changed={}", dir.join("src/init").display());
    println!("cargo::rerun-if-env-changed=RUSTC");
    let target = std::env::var("TARGET")?;
    let out = Path::new(&std::env::var("OUT_DIR")?).join("hostwright-init");
    let mut command = Command::new(std::env::var("RUSTC")?);
    command.args(["--edition=2024", "--crate-name=hostwright_init", "--crate-type=bin", "--cap-lints=allow"]);
    for option in ["opt-level=s", "panic=abort", "lto=fat", "codegen-units=1", "strip=symbols"] {
        command.args(["-C", option]);
    }
    command.args(["-C", "target-feature=+crt-static", "-C", "relocation-model=static"]);
    if target != std::env::var("HOST")? {
        command.args(["--target", &target]);
    }
    if let Ok(linker) = std::env::var("RUSTC_LINKER") {
        command.arg(format!("-Clinker={linker}"));
    }
    let result = command.arg("-o").arg(&out).arg(&main).output()?;
    if result.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&result.stderr);
    if said.contains("find -lc") || said.contains("library 'c'") || said.contains("-lgcc_eh") {
        return Err("hostwright-init is a static program, and the static C library is missing; install \
                    libc6-dev (Debian, Ubuntu), glibc-static (Fedora, RHEL) or glibc-devel-static (openSUSE)"
            .into());
    }
    said.lines().for_each(|line| println!("cargo::error={line}"));
    Err("hostwright-init could not be compiled, see above".into())
}

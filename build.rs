// SPDX-License-Identifier: GPL-3.0-or-later
//! Embeds the kernel adaptations, where a new file in `data/adaptations` is enough, no code names it; and
//! compiles the assistant's resources, when there is an assistant.

use std::fmt::Write;
use std::path::Path;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    adaptations()?;
    #[cfg(feature = "gui")]
    resources();
    Ok(())
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

fn adaptations() -> Result<(), Box<dyn std::error::Error>> {
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

// SPDX-License-Identifier: GPL-3.0-or-later
//! Whether modules can be built for a kernel: what kbuild itself needs, looked at file by file.

use super::{Headers, KernelConfig};
use crate::detect::look::Look;
use crate::host::FileKind;

/// `UTS_RELEASE` of `utsrelease.h`.
pub fn parse_utsrelease(text: &str) -> Option<&str> {
    let (_, after) = text.split_once("#define UTS_RELEASE")?;
    let (_, after) = after.split_once('"')?;
    after.split_once('"').map(|(release, _)| release)
}

/// The files that a generated `Makefile` of a header package includes (`include /usr/src/…/Makefile`);
/// only whole paths count.
pub fn included_makefiles(text: &str) -> Vec<&str> {
    let is_stub = text.lines().count() < 60;
    let paths = text.lines().filter_map(|line| line.strip_prefix("include ")).map(str::trim);
    paths.filter(|path| is_stub && path.starts_with('/') && !path.contains('$')).collect()
}

/// What was found of a build folder.
pub(super) struct BuildDir {
    /// Where it really is.
    pub(super) path: String,
    /// What is missing in it.
    pub(super) missing: Vec<String>,
}

/// The build folder of a kernel, if there is one: what `/lib/modules/RELEASE/build` leads to, else the
/// folder that distributions give it. A link into nothing is no folder.
pub(super) fn find(look: &Look<'_>, release: &str, modules_dir: &str) -> Option<BuildDir> {
    let places = [
        format!("{modules_dir}/build"),
        format!("/usr/src/linux-headers-{release}"),
        format!("/usr/src/kernels/{release}"),
        format!("/usr/src/linux-{release}"),
    ];
    let path = places.iter().find_map(|place| {
        let is_dir = look.root().metadata(place).is_ok_and(|m| m.kind == FileKind::Directory);
        if is_dir { look.root().resolve(place).ok() } else { None }
    })?;
    let missing = missing(look, release, &path);
    Some(BuildDir { path, missing })
}

fn missing(look: &Look<'_>, release: &str, dir: &str) -> Vec<String> {
    let mut missing = Vec::new();
    match look.text(&format!("{dir}/Makefile")) {
        Ok(text) => missing.extend(
            included_makefiles(&text)
                .into_iter()
                .filter(|path| !look.exists(path))
                .map(|path| format!("{path} (included by its Makefile)")),
        ),
        Err(_) => missing.push("Makefile".to_owned()),
    }
    // kbuild refuses external modules without these two (top Makefile, "Kernel configuration is invalid").
    for file in ["include/config/auto.conf", "include/generated/autoconf.h"] {
        if !look.exists(&format!("{dir}/{file}")) {
            missing.push(file.to_owned());
        }
    }
    match look.text(&format!("{dir}/include/generated/utsrelease.h")) {
        Ok(text) => match parse_utsrelease(&text) {
            Some(found) if found == release => {}
            Some(found) => missing.push(format!("headers of {release} (these are of {found})")),
            None => missing.push("a release in include/generated/utsrelease.h".to_owned()),
        },
        Err(_) => missing.push("include/generated/utsrelease.h".to_owned()),
    }
    if look.root().metadata(&format!("{dir}/Module.symvers")).map_or(0, |m| m.size) == 0 {
        missing.push("Module.symvers".to_owned());
    }
    for program in ["scripts/basic/fixdep", "scripts/mod/modpost"] {
        missing.extend(missing_program(look, dir, program));
    }
    missing
}

/// objtool is needed when the kernel's configuration runs it over modules.
pub(super) fn missing_objtool(look: &Look<'_>, dir: &str, config: &KernelConfig) -> Option<String> {
    if config.has_objtool() { missing_program(look, dir, "tools/objtool/objtool") } else { None }
}

fn missing_program(look: &Look<'_>, dir: &str, program: &str) -> Option<String> {
    match look.root().metadata(&format!("{dir}/{program}")) {
        Ok(meta) if meta.mode & 0o111 != 0 => None,
        Ok(_) => Some(format!("{program} (is not executable)")),
        Err(_) => Some(program.to_owned()),
    }
}

/// The state of the headers, with the package that would mend it.
pub(super) fn state(
    found: Option<BuildDir>,
    package: impl FnOnce() -> crate::detect::distro::HeadersPackage,
) -> Headers {
    match found {
        Some(BuildDir { path, missing }) if missing.is_empty() => Headers::Usable { build_dir: path },
        Some(BuildDir { path, missing }) => {
            let package = package();
            Headers::Broken { build_dir: path, missing, package: package.package, command: package.command }
        }
        None => {
            let package = package();
            Headers::Missing { package: package.package, command: package.command }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn debian_includes_the_common_makefile() {
        let text = "include /usr/src/linux-headers-6.1.0-25-common/Makefile\n";
        assert_eq!(included_makefiles(text), ["/usr/src/linux-headers-6.1.0-25-common/Makefile"]);
        assert!(included_makefiles("include $(srctree)/scripts/Kbuild.include\n").is_empty());
    }

    proptest! {
        #[test]
        fn no_text_makes_these_parsers_panic(text in "(?s).*") {
            included_makefiles(&text);
            parse_utsrelease(&format!("#define UTS_RELEASE{text}"));
        }
    }
}

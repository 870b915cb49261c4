// SPDX-License-Identifier: GPL-3.0-or-later
//! Questions to a kernel: which of them are compiled, and what the answers are.
//!
//! All probes of a kernel are the objects of one module that is never linked: one of them, a control,
//! must fail, so that `make -k` compiles everything there is and stops before modpost. A second control
//! must compile; when it does not, the header tree or the compiler is broken, and a failed probe says
//! nothing.

use super::catalogue::Catalogue;
use super::diagnose::{Diagnostic, first_error, parse_output};
use super::model::{ProbeKind, substitute};
use crate::engine::source::Files;
use crate::engine::steps::Compiler;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::collections::{BTreeMap, BTreeSet};

/// Answers: `adaptation.probe` → yes or no.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct Outcomes(pub BTreeMap<String, bool>);

impl Outcomes {
    /// The answer to one probe.
    pub fn get(&self, adaptation: &str, probe: &str) -> Option<bool> {
        self.0.get(&format!("{adaptation}.{probe}")).copied()
    }

    /// Both together.
    #[must_use]
    pub fn with(mut self, other: Self) -> Self {
        self.0.extend(other.0);
        self
    }
}

/// A kbuild folder with one object per question.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProbeDir {
    /// Relative path → bytes: `Kbuild` and the C texts.
    pub files: Files,
    /// Object (without `.o`) → the probes that it answers, as `adaptation.probe`.
    pub objects: BTreeMap<String, Vec<String>>,
    /// Probes whose text needs a value that there is none for (tuning without a CPU): their answer is no.
    pub without_value: Vec<String>,
}

/// Why the answers are not known.
#[derive(Debug, thiserror::Error)]
pub enum ProbeError {
    /// Not even the control compiles.
    #[error(
        "the kernel's build tree or the compiler does not work: a module with nothing but an include of <linux/module.h> does not compile{}; install the kernel's headers and its compiler anew",
        .first.as_ref().map(|d| format!(" ({d})")).unwrap_or_default()
    )]
    Broken {
        /// The first error.
        first: Option<Diagnostic>,
    },
    /// The compiler takes what it must refuse.
    #[error(
        "the compiler accepts C that is wrong (an #error, a call of a function that does not exist), so its answers mean nothing; look for a wrapper in place of the compiler"
    )]
    AcceptsAnything,
    /// A probe failed for another reason than its text.
    #[error("the probe {probe} could not be answered: {why}; try again, and look for memory or disk space")]
    Undecided {
        /// Which.
        probe: String,
        /// What was seen.
        why: String,
    },
}

const CONTROL_YES: &str = "control_yes";
const CONTROL_NO: &str = "control_no";
const CONTROL_CALL: &str = "control_call";

/// Warnings are the kernel's or the probe's own business; these few are what the answers are made of
/// (gcc before 14 and clang before 16 only warn of them).
const FLAGS: &str = "-Wno-error -Wno-unused \
-Werror=implicit-function-declaration -Werror=implicit-int -Werror=incompatible-pointer-types -Werror=int-conversion";

fn has_variable(text: &str) -> bool {
    text.contains("@{")
}

impl ProbeDir {
    /// The code probes of a catalogue with these values. Equal texts are compiled once.
    pub fn new(catalogue: &Catalogue, values: &BTreeMap<&str, String>) -> Self {
        let mut files = Files::new();
        let mut objects: BTreeMap<String, Vec<String>> = BTreeMap::new();
        let mut flags_of: BTreeMap<String, String> = BTreeMap::new();
        let mut without_value = Vec::new();
        for adaptation in catalogue.adaptations() {
            for probe in &adaptation.probes {
                let ProbeKind::Code { code, flags } = &probe.kind else { continue };
                let key = format!("{}.{}", adaptation.id, probe.name);
                let code = substitute(code, values);
                let flags = substitute(&flags.join(" "), values);
                if has_variable(&code) || has_variable(&flags) {
                    without_value.push(key);
                    continue;
                }
                let mut hasher = Sha256::new();
                hasher.update(code.as_bytes());
                hasher.update([0]);
                hasher.update(flags.as_bytes());
                let object = format!("probe_{}", &hex::encode(hasher.finalize())[..16]);
                let licence = "// SPDX-License-Identifier: GPL-2.0-or-later\n";
                files.insert(format!("{object}.c"), format!("{licence}{code}").into_bytes());
                objects.entry(object.clone()).or_default().push(key);
                if !flags.is_empty() {
                    flags_of.insert(object, flags);
                }
            }
        }
        files
            .insert(format!("{CONTROL_YES}.c"), b"#include <linux/module.h>\nint hostwright_yes;\n".to_vec());
        files.insert(format!("{CONTROL_NO}.c"), b"#error this must not compile\n".to_vec());
        files.insert(
            format!("{CONTROL_CALL}.c"),
            b"int hostwright_call(void);\nint hostwright_call(void) { return hostwright_no_such_function(1); }\n".to_vec(),
        );
        let mut kbuild = format!(
            "EXTRA_CFLAGS := -DHOSTWRIGHT_EXTRA_CFLAGS\nccflags-y := {FLAGS}\nobj-m := probes.o\nprobes-y :="
        );
        for object in
            [CONTROL_NO, CONTROL_YES, CONTROL_CALL].into_iter().chain(objects.keys().map(String::as_str))
        {
            kbuild.push_str(&format!(" \\\n\t{object}.o"));
        }
        kbuild.push('\n');
        for (object, flags) in flags_of {
            kbuild.push_str(&format!("CFLAGS_{object}.o := {flags}\n"));
        }
        files.insert("Kbuild".into(), kbuild.into_bytes());
        Self { files, objects, without_value }
    }

    /// Under which key the answers of one kernel are kept: its build tree's identity, the compiler and
    /// every byte of the probes.
    pub fn cache_key(&self, build_id: &str, compiler: &Compiler) -> String {
        let mut hasher = Sha256::new();
        for part in [build_id, &compiler.cc, &compiler.version, if compiler.llvm { "llvm" } else { "" }] {
            hasher.update((part.len() as u64).to_le_bytes());
            hasher.update(part.as_bytes());
        }
        hasher.update(crate::engine::source::tree_sha256(&self.files).as_bytes());
        // A probe without a value has no text, and yet its answer is kept.
        for key in &self.without_value {
            hasher.update(key.as_bytes());
            hasher.update([0]);
        }
        hex::encode(hasher.finalize())
    }

    /// The arguments of `make` for one run that compiles all probes: `build_dir` is the kernel's build
    /// tree and `dir` the folder with [`ProbeDir::files`], both as seen by make. Its exit status is
    /// never 0, because a control must fail.
    pub fn make_args(build_dir: &str, dir: &str, jobs: usize, compiler: &Compiler) -> Vec<String> {
        let mut args =
            vec!["-k".into(), format!("-j{jobs}"), "-C".into(), build_dir.into(), format!("M={dir}")];
        if compiler.llvm {
            args.push("LLVM=1".into());
        }
        args.push(format!("CC={}", compiler.cc));
        args.push("modules".into());
        args
    }

    /// The answers: from the names of the objects that exist afterwards ("probe_….o") and what make
    /// wrote.
    ///
    /// # Errors
    /// When the controls show that the answers mean nothing, or a probe failed for another reason than
    /// its text (killed, no space).
    pub fn outcomes(&self, made: &BTreeSet<String>, output: &str) -> Result<Outcomes, ProbeError> {
        let is_made = |object: &str| made.contains(&format!("{object}.o"));
        if !is_made(CONTROL_YES) {
            return Err(ProbeError::Broken { first: broken_by(output) });
        }
        if is_made(CONTROL_NO) || is_made(CONTROL_CALL) {
            return Err(ProbeError::AcceptsAnything);
        }
        let mut outcomes = Outcomes::default();
        for key in &self.without_value {
            outcomes.0.insert(key.clone(), false);
        }
        for (object, keys) in &self.objects {
            let yes = is_made(object);
            if !yes {
                let own_flags = self.has_flags(object);
                refused_by_compiler(object, own_flags, output)
                    .map_err(|why| ProbeError::Undecided { probe: keys.join(", "), why })?;
            }
            outcomes.0.extend(keys.iter().map(|k| (k.clone(), yes)));
        }
        Ok(outcomes)
    }

    /// Whether an object is compiled with flags of its own.
    fn has_flags(&self, object: &str) -> bool {
        let line = format!("CFLAGS_{object}.o := ");
        self.files.get("Kbuild").is_some_and(|k| String::from_utf8_lossy(k).contains(&line))
    }
}

/// The first error that is not one of the failures asked for.
fn broken_by(output: &str) -> Option<Diagnostic> {
    let asked = |d: &Diagnostic| {
        d.message.contains("this must not compile") || d.message.contains("no_such_function")
    };
    let all: Vec<Diagnostic> = parse_output(output).into_iter().filter(|d| !asked(d)).collect();
    first_error(&all).cloned()
}

/// Whether the compiler refused an object, as opposed to make or the machine giving up.
fn refused_by_compiler(object: &str, own_flags: bool, output: &str) -> Result<(), String> {
    let ends = format!("{object}.o]");
    let source = format!("{object}.c");
    let line = output.lines().find(|l| l.contains(&ends) && l.contains("Error"));
    let Some(line) = line else {
        return Err("make did not try to compile it".into());
    };
    if !line.trim_end().ends_with("Error 1") {
        return Err(line.trim().to_owned());
    }
    // The compiler names the text in every refusal, be it in "In file included from".
    let mut named = false;
    for line in output.lines().filter(|l| l.contains(&source)) {
        if ["internal compiler error", "Killed", "No space left", "Cannot allocate"]
            .iter()
            .any(|w| line.contains(w))
        {
            return Err(line.trim().to_owned());
        }
        named = true;
    }
    // A flag that it does not know it refuses before it reads the text (gcc's "bad value (...) for '-march=' switch",
    // clang's "unknown target CPU").
    named = named
        || own_flags
            && output.lines().any(|line| {
                line.contains("error: ")
                    && [
                        "bad value (",
                        "unknown target CPU",
                        "unrecognized command-line option",
                        "unknown argument",
                    ]
                    .iter()
                    .any(|w| line.contains(w))
            });
    if named { Ok(()) } else { Err("the compiler gave no reason".into()) }
}

/// The answers that need no compiler: from the kernel's `.config` and `Module.symvers`.
pub fn kernel_outcomes(catalogue: &Catalogue, config: &str, symvers: &str) -> Outcomes {
    let mut configs: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    let mut symbols: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    let mut outcomes = Outcomes::default();
    for adaptation in catalogue.adaptations() {
        for probe in &adaptation.probes {
            let key = format!("{}.{}", adaptation.id, probe.name);
            match &probe.kind {
                ProbeKind::Config(name) => configs.entry(name).or_default().push(key.clone()),
                ProbeKind::Symbol(name) => symbols.entry(name).or_default().push(key.clone()),
                ProbeKind::Code { .. } | ProbeKind::Source { .. } => continue,
            }
            outcomes.0.insert(key, false);
        }
    }
    for line in config.lines() {
        let Some((name, value)) = line.split_once('=') else { continue };
        if let Some(keys) = configs.get(name)
            && matches!(value, "y" | "m")
        {
            outcomes.0.extend(keys.iter().map(|k| (k.clone(), true)));
        }
    }
    for line in symvers.lines() {
        // CRC, symbol, module, kind of export, namespace (Documentation/kbuild/modules.rst).
        let mut fields = line.split('\t');
        let (Some(name), namespace) = (fields.nth(1), fields.nth(2).unwrap_or_default()) else { continue };
        if let Some(keys) = symbols.get(name)
            && !namespace.starts_with("module:")
        {
            outcomes.0.extend(keys.iter().map(|k| (k.clone(), true)));
        }
    }
    outcomes
}

#[cfg(test)]
mod tests {
    use super::*;

    fn catalogue() -> Catalogue {
        let file = |id: &str, probes: &str, when: &str| {
            format!(
                "schema = 1\nid = '{id}'\ntitle = 't'\nmodules = ['vmmon']\nsince = 's'\nsource = 's'\n{probes}\n[[apply]]\nwhen = '{when}'\nreason = 'r'\ncflags = ['-g']\n"
            )
        };
        let a = file(
            "a",
            "[[probe]]\nname = 'x'\ncode = 'int x;'\n[[probe]]\nname = 'y'\ncode = 'int y;'\nflags = ['-march=@{march}']\n[[probe]]\nname = 'sym'\nsymbol = 'foo'\n[[probe]]\nname = 'cfg'\nconfig = 'CONFIG_FOO'",
            "x && y && sym && cfg",
        );
        let b = file("b", "[[probe]]\nname = 'same'\ncode = 'int x;'", "same");
        Catalogue::from_texts([("a.toml", a.as_str()), ("b.toml", b.as_str())]).unwrap()
    }

    fn values() -> BTreeMap<&'static str, String> {
        BTreeMap::from([("march", "haswell".to_owned())])
    }

    fn compiler() -> Compiler {
        Compiler { cc: "gcc".into(), version: "12.2.0".into(), llvm: false }
    }

    /// What gcc and kbuild write when `object` is refused.
    fn refused(object: &str) -> String {
        format!(
            "/p/{object}.c:2:1: error: implicit declaration of function 'old'\nmake[2]: *** [/usr/src/scripts/Makefile.build:255: /p/{object}.o] Error 1\n"
        )
    }

    fn object_of(dir: &ProbeDir, key: &str) -> String {
        dir.objects.iter().find(|(_, keys)| keys.iter().any(|k| k == key)).unwrap().0.clone()
    }

    #[test]
    fn equal_probes_are_compiled_once() {
        let dir = ProbeDir::new(&catalogue(), &values());
        assert_eq!(dir.objects.len(), 2);
        assert_eq!(dir.objects[&object_of(&dir, "a.x")], ["a.x", "b.same"]);
        let kbuild = String::from_utf8_lossy(&dir.files["Kbuild"]).into_owned();
        assert!(
            kbuild.contains(&format!("CFLAGS_{}.o := -march=haswell", object_of(&dir, "a.y"))),
            "{kbuild}"
        );
    }

    #[test]
    fn a_probe_without_its_value_is_no() {
        let dir = ProbeDir::new(&catalogue(), &BTreeMap::new());
        let made = BTreeSet::from(["control_yes.o".into(), format!("{}.o", object_of(&dir, "a.x"))]);
        let outcomes = dir.outcomes(&made, "").unwrap();
        assert_eq!(outcomes.get("a", "y"), Some(false));
        assert_eq!(outcomes.get("b", "same"), Some(true));
    }

    #[test]
    fn a_refused_probe_is_no_and_a_broken_tree_is_not() {
        let dir = ProbeDir::new(&catalogue(), &values());
        let (x, y) = (object_of(&dir, "a.x"), object_of(&dir, "a.y"));
        let yes = BTreeSet::from(["control_yes.o".to_owned(), format!("{y}.o")]);
        let outcomes = dir.outcomes(&yes, &refused(&x)).unwrap();
        assert_eq!((outcomes.get("a", "x"), outcomes.get("a", "y")), (Some(false), Some(true)));

        let output = "/p/control_no.c:1:2: error: #error this must not compile\n/p/control_yes.c:1:10: fatal error: linux/module.h: No such file or directory\n";
        let e = dir.outcomes(&BTreeSet::new(), output).unwrap_err();
        assert!(
            matches!(&e, ProbeError::Broken { first: Some(d) } if d.message.contains("linux/module.h")),
            "{e}"
        );
    }

    #[test]
    fn a_flag_that_the_compiler_does_not_know_is_no_for_who_asks_with_flags_only() {
        let dir = ProbeDir::new(&catalogue(), &values());
        let (x, y) = (object_of(&dir, "a.x"), object_of(&dir, "a.y"));
        let output = |object: &str| {
            format!(
                "cc1: error: bad value ('znver4') for '-march=' switch\nmake[2]: *** [scripts/Makefile.build:250: {object}.o] Error 1\n"
            )
        };
        let made = |object: &str| BTreeSet::from(["control_yes.o".to_owned(), format!("{object}.o")]);
        let outcomes = dir.outcomes(&made(&x), &output(&y)).unwrap();
        assert_eq!((outcomes.get("a", "x"), outcomes.get("a", "y")), (Some(true), Some(false)));
        assert!(matches!(dir.outcomes(&made(&y), &output(&x)), Err(ProbeError::Undecided { .. })));
    }

    #[test]
    fn a_compiler_that_takes_anything_is_noticed() {
        let dir = ProbeDir::new(&catalogue(), &values());
        for control in ["control_no.o", "control_call.o"] {
            let made = BTreeSet::from(["control_yes.o".to_owned(), control.to_owned()]);
            assert!(matches!(dir.outcomes(&made, ""), Err(ProbeError::AcceptsAnything)));
        }
    }

    #[test]
    fn a_probe_that_was_killed_is_not_a_no() {
        let dir = ProbeDir::new(&catalogue(), &values());
        let (x, y) = (object_of(&dir, "a.x"), object_of(&dir, "a.y"));
        let made = BTreeSet::from(["control_yes.o".to_owned(), format!("{y}.o")]);
        for output in [
            String::new(),
            format!("make[2]: *** [/p/{x}.o] Killed\n"),
            format!("make[2]: *** [Makefile:1: /p/{x}.o] Error 137\n"),
            format!("/p/{x}.c:9:1: internal compiler error: Killed\nmake[2]: *** [a:1: /p/{x}.o] Error 1\n"),
            format!("make[2]: *** [a:1: /p/{x}.o] Error 1\n"),
        ] {
            let e = dir.outcomes(&made, &output).unwrap_err();
            assert!(matches!(e, ProbeError::Undecided { .. }), "{output:?}: {e}");
        }
    }

    #[test]
    fn configuration_and_symbols_are_read_as_the_kernel_writes_them() {
        let c = catalogue();
        let read = |config, symvers| {
            let o = kernel_outcomes(&c, config, symvers);
            (o.get("a", "cfg").unwrap(), o.get("a", "sym").unwrap())
        };
        let tab = "0xa916b694\tfoo\tvmlinux\tEXPORT_SYMBOL_GPL\t\n";
        assert_eq!(read("CONFIG_FOO=y\n", tab), (true, true));
        assert_eq!(
            read("# CONFIG_FOO is not set\nCONFIG_FOOBAR=y\n", "0x0\tfoobar\tvmlinux\tEXPORT_SYMBOL\t\n"),
            (false, false)
        );
        assert_eq!(read("CONFIG_FOO=m", "0x0\tfoo\tvmlinux\tEXPORT_SYMBOL_GPL\tmodule:kvm\n"), (true, false));
    }

    #[test]
    fn the_cache_key_sees_kernel_compiler_and_probes() {
        let dir = ProbeDir::new(&catalogue(), &values());
        let key = dir.cache_key("id", &compiler());
        assert_eq!(key, ProbeDir::new(&catalogue(), &values()).cache_key("id", &compiler()));
        assert_ne!(key, dir.cache_key("other", &compiler()));
        assert_ne!(key, dir.cache_key("id", &Compiler { version: "13.1.0".into(), ..compiler() }));
        assert_ne!(key, ProbeDir::new(&catalogue(), &BTreeMap::new()).cache_key("id", &compiler()));
    }

    #[test]
    fn answers_kept_before_there_was_a_probe_without_a_file_are_not_used() {
        let mut before = ProbeDir::new(&catalogue(), &BTreeMap::new());
        let key = before.cache_key("id", &compiler());
        before.without_value.clear();
        assert_ne!(key, before.cache_key("id", &compiler()));
    }
}

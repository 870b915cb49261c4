// SPDX-License-Identifier: GPL-3.0-or-later
//! The `-march` name of a processor: from its vendor, family and model, and only when every flag that
//! the name stands for in scalar code is there (a virtual machine hides some).

/// A named processor: as GCC's manual ("x86 Options") and its `cpuinfo.h` have it.
struct Named {
    name: &'static str,
    vendor: &'static str,
    family: u32,
    /// Model numbers, both ends included.
    models: &'static [(u32, u32)],
    /// Flags of `/proc/cpuinfo` that must be there beside those of `level`.
    needs: &'static [&'static str],
    /// x86-64 level that must be reached.
    level: u8,
    /// Oldest gcc that knows the name.
    gcc: u32,
}

const INTEL: &str = "GenuineIntel";
const AMD: &str = "AuthenticAMD";

const SKYLAKE: &[&str] = &[
    "3dnowprefetch",
    "adx",
    "rdseed",
    "aes",
    "pclmulqdq",
    "fsgsbase",
    "rdrand",
    "clflushopt",
    "xsavec",
    "xsaves",
];
const SKYLAKE_AVX512: &[&str] = &[
    "3dnowprefetch",
    "adx",
    "rdseed",
    "aes",
    "pclmulqdq",
    "fsgsbase",
    "rdrand",
    "clflushopt",
    "clwb",
    "xsavec",
    "xsaves",
];
const ICELAKE: &[&str] = &[
    "3dnowprefetch",
    "adx",
    "rdseed",
    "aes",
    "fsgsbase",
    "rdrand",
    "clflushopt",
    "sha_ni",
    "rdpid",
    "gfni",
    "vaes",
    "xsavec",
    "xsaves",
];
const ALDERLAKE: &[&str] = &[
    "3dnowprefetch",
    "adx",
    "rdseed",
    "aes",
    "fsgsbase",
    "rdrand",
    "clflushopt",
    "clwb",
    "sha_ni",
    "rdpid",
    "gfni",
    "vaes",
    "movdiri",
    "movdir64b",
    "serialize",
    "xsavec",
    "xsaves",
];
const SAPPHIRE: &[&str] = &[
    "3dnowprefetch",
    "adx",
    "rdseed",
    "clwb",
    "sha_ni",
    "rdpid",
    "gfni",
    "vaes",
    "movdiri",
    "movdir64b",
    "serialize",
    "amx_tile",
    "avx512_fp16",
    "avx512_bf16",
];
const ZEN1: &[&str] = &[
    "3dnowprefetch",
    "adx",
    "rdseed",
    "aes",
    "fsgsbase",
    "rdrand",
    "clflushopt",
    "sha_ni",
    "sse4a",
    "clzero",
    "xsavec",
    "xsaves",
];
const ZEN2: &[&str] = &[
    "3dnowprefetch",
    "adx",
    "rdseed",
    "aes",
    "fsgsbase",
    "rdrand",
    "clflushopt",
    "clwb",
    "sha_ni",
    "sse4a",
    "clzero",
    "rdpid",
    "xsavec",
    "xsaves",
];
const ZEN3: &[&str] = &[
    "3dnowprefetch",
    "adx",
    "rdseed",
    "aes",
    "fsgsbase",
    "rdrand",
    "clflushopt",
    "clwb",
    "sha_ni",
    "sse4a",
    "clzero",
    "rdpid",
    "vaes",
    "vpclmulqdq",
    "xsavec",
    "xsaves",
];
const ZEN4: &[&str] = &[
    "3dnowprefetch",
    "adx",
    "rdseed",
    "aes",
    "fsgsbase",
    "rdrand",
    "clflushopt",
    "clwb",
    "sha_ni",
    "sse4a",
    "clzero",
    "rdpid",
    "vaes",
    "gfni",
    "avx512_bf16",
    "avx512_vnni",
    "xsavec",
    "xsaves",
];
const ZEN5: &[&str] = &[
    "3dnowprefetch",
    "adx",
    "rdseed",
    "aes",
    "fsgsbase",
    "rdrand",
    "clflushopt",
    "clwb",
    "sha_ni",
    "sse4a",
    "clzero",
    "rdpid",
    "vaes",
    "gfni",
    "avx512_bf16",
    "avx512_vnni",
    "avx_vnni",
    "movdiri",
    "movdir64b",
    "avx512_vp2intersect",
    "xsavec",
    "xsaves",
];

const fn row(
    name: &'static str,
    vendor: &'static str,
    family: u32,
    models: &'static [(u32, u32)],
    needs: &'static [&'static str],
    level: u8,
    gcc: u32,
) -> Named {
    Named { name, vendor, family, models, needs, level, gcc }
}

#[rustfmt::skip]
const NAMED: &[Named] = &[
    row("nehalem", INTEL, 6, &[(26, 26), (30, 31), (46, 46)], &[], 2, 5),
    row("westmere", INTEL, 6, &[(37, 37), (44, 44), (47, 47)], &["aes", "pclmulqdq"], 2, 5),
    row("sandybridge", INTEL, 6, &[(42, 42), (45, 45)], &["avx", "aes", "pclmulqdq", "xsaveopt"], 2, 5),
    row("ivybridge", INTEL, 6, &[(58, 58), (62, 62)], &["avx", "aes", "f16c", "rdrand", "fsgsbase"], 2, 5),
    row("haswell", INTEL, 6, &[(60, 60), (63, 63), (69, 70)], &["aes", "rdrand", "fsgsbase"], 3, 5),
    row("broadwell", INTEL, 6, &[(61, 61), (71, 71), (79, 79), (86, 86)], &["aes", "rdrand", "fsgsbase", "3dnowprefetch", "adx", "rdseed"], 3, 5),
    row("skylake", INTEL, 6, &[(78, 78), (94, 94), (142, 142), (158, 158), (165, 166)], SKYLAKE, 3, 6),
    row("cooperlake", INTEL, 6, &[(85, 85)], &["3dnowprefetch", "adx", "rdseed", "clwb", "avx512_vnni", "avx512_bf16"], 4, 10),
    row("cascadelake", INTEL, 6, &[(85, 85)], &["3dnowprefetch", "adx", "rdseed", "clwb", "avx512_vnni"], 4, 9),
    row("skylake-avx512", INTEL, 6, &[(85, 85)], SKYLAKE_AVX512, 4, 6),
    row("icelake-client", INTEL, 6, &[(125, 126)], ICELAKE, 4, 8),
    row("icelake-server", INTEL, 6, &[(106, 106), (108, 108)], ICELAKE, 4, 8),
    row("tigerlake", INTEL, 6, &[(140, 141)], ICELAKE, 4, 10),
    row("rocketlake", INTEL, 6, &[(167, 167)], ICELAKE, 4, 11),
    row("alderlake", INTEL, 6, &[(151, 151), (154, 154), (183, 183), (186, 186), (191, 191)], ALDERLAKE, 3, 11),
    row("meteorlake", INTEL, 6, &[(170, 170), (172, 172)], ALDERLAKE, 3, 13),
    row("arrowlake", INTEL, 6, &[(181, 181), (197, 197)], ALDERLAKE, 3, 14),
    row("sapphirerapids", INTEL, 6, &[(143, 143), (207, 207)], SAPPHIRE, 4, 11),
    row("znver1", AMD, 23, &[(0, 47)], ZEN1, 3, 6),
    row("znver2", AMD, 23, &[(48, 255)], ZEN2, 3, 9),
    row("znver3", AMD, 25, &[(0, 15), (32, 95)], ZEN3, 3, 11),
    row("znver4", AMD, 25, &[(16, 31), (96, 175)], ZEN4, 4, 13),
    row("znver5", AMD, 26, &[(0, 127)], ZEN5, 4, 14),
];

/// Flags of `/proc/cpuinfo` for each level of the x86-64 psABI ("abm" stands for LZCNT).
const LEVELS: [&[&str]; 3] = [
    &["cx16", "lahf_lm", "popcnt", "pni", "sse4_1", "sse4_2", "ssse3"],
    &["avx", "avx2", "bmi1", "bmi2", "f16c", "fma", "abm", "movbe", "xsave"],
    &["avx512f", "avx512bw", "avx512cd", "avx512dq", "avx512vl"],
];

/// The level of the x86-64 ABI that a set of flags reaches: 1 to 4; 0 for a processor that is none.
pub(super) fn level(has: impl Fn(&str) -> bool) -> u8 {
    if !has("lm") {
        return 0;
    }
    let reached = LEVELS.iter().take_while(|flags| flags.iter().all(|flag| has(flag))).count();
    1 + u8::try_from(reached).unwrap_or(0)
}

/// The `-march` name and the oldest gcc that knows it.
pub(super) fn name(
    vendor: &str,
    family: u32,
    model: u32,
    has: impl Fn(&str) -> bool,
) -> (String, Option<u32>) {
    let level = level(&has);
    let named = NAMED.iter().find(|n| {
        n.vendor == vendor
            && n.family == family
            && n.models.iter().any(|(from, to)| (*from..=*to).contains(&model))
            && level >= n.level
            && n.needs.iter().all(|flag| has(flag))
    });
    match named {
        Some(named) => (named.name.to_owned(), Some(named.gcc)),
        None => (level_name(level), None),
    }
}

/// The name of a level; what every x86-64 compiler knows for level 1.
pub(super) fn level_name(level: u8) -> String {
    if level >= 2 { format!("x86-64-v{level}") } else { "x86-64".to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(vendor: &str, family: u32, model: u32, without: &[&str]) -> (String, Option<u32>) {
        let all: Vec<&str> = LEVELS.iter().flat_map(|l| l.iter().copied()).chain(["lm"]).collect();
        let has = |flag: &str| {
            !without.contains(&flag) && (all.contains(&flag) || NAMED.iter().any(|n| n.needs.contains(&flag)))
        };
        name(vendor, family, model, has)
    }

    #[test]
    fn a_name_is_given_only_with_all_that_it_stands_for() {
        assert_eq!(named(AMD, 25, 0x21, &["avx512f"]), ("znver3".into(), Some(11)));
        // A hypervisor that hides one flag.
        assert_eq!(named(AMD, 25, 0x21, &["avx512f", "clzero"]), ("x86-64-v3".into(), None));
        assert_eq!(named(INTEL, 6, 85, &["avx512_vnni"]), ("skylake-avx512".into(), Some(6)));
        assert_eq!(named(INTEL, 6, 85, &["avx512_bf16"]), ("cascadelake".into(), Some(9)));
        assert_eq!(named(INTEL, 6, 151, &["avx512f"]), ("alderlake".into(), Some(11)));
        assert_eq!(named("Unknown", 6, 151, &["movbe"]), ("x86-64-v2".into(), None));
        assert_eq!(named("Unknown", 6, 1, &["cx16"]), ("x86-64".into(), None));
    }

    #[test]
    fn every_gcc_at_hand_knows_the_names_it_is_given() {
        let output = std::process::Command::new("gcc").arg("-dumpversion").output().unwrap();
        let major: u32 =
            String::from_utf8_lossy(&output.stdout).split('.').next().unwrap().trim().parse().unwrap();
        for named in NAMED.iter().filter(|n| n.gcc <= major) {
            let done = std::process::Command::new("gcc")
                .args([&format!("-march={}", named.name), "-E", "-x", "c", "/dev/null"])
                .output()
                .unwrap();
            assert!(done.status.success(), "{}", named.name);
        }
    }
}

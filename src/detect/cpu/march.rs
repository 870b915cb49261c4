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

const SKYLAKE: &[&str] =
    &["adx", "rdseed", "aes", "pclmulqdq", "fsgsbase", "rdrand", "clflushopt", "xsavec", "xsaves"];
const SKYLAKE_AVX512: &[&str] =
    &["adx", "rdseed", "aes", "pclmulqdq", "fsgsbase", "rdrand", "clflushopt", "clwb", "xsavec", "xsaves"];
const ICELAKE: &[&str] = &[
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

const NAMED: &[Named] = &[
    Named {
        name: "nehalem",
        vendor: INTEL,
        family: 6,
        models: &[(26, 26), (30, 31), (46, 46)],
        needs: &[],
        level: 2,
        gcc: 5,
    },
    Named {
        name: "westmere",
        vendor: INTEL,
        family: 6,
        models: &[(37, 37), (44, 44), (47, 47)],
        needs: &["aes", "pclmulqdq"],
        level: 2,
        gcc: 5,
    },
    Named {
        name: "sandybridge",
        vendor: INTEL,
        family: 6,
        models: &[(42, 42), (45, 45)],
        needs: &["avx", "aes", "pclmulqdq", "xsaveopt"],
        level: 2,
        gcc: 5,
    },
    Named {
        name: "ivybridge",
        vendor: INTEL,
        family: 6,
        models: &[(58, 58), (62, 62)],
        needs: &["avx", "aes", "f16c", "rdrand", "fsgsbase"],
        level: 2,
        gcc: 5,
    },
    Named {
        name: "haswell",
        vendor: INTEL,
        family: 6,
        models: &[(60, 60), (63, 63), (69, 70)],
        needs: &["aes", "rdrand", "fsgsbase"],
        level: 3,
        gcc: 5,
    },
    Named {
        name: "broadwell",
        vendor: INTEL,
        family: 6,
        models: &[(61, 61), (71, 71), (79, 79), (86, 86)],
        needs: &["aes", "rdrand", "fsgsbase", "adx", "rdseed"],
        level: 3,
        gcc: 5,
    },
    Named {
        name: "skylake",
        vendor: INTEL,
        family: 6,
        models: &[(78, 78), (94, 94), (142, 142), (158, 158), (165, 166)],
        needs: SKYLAKE,
        level: 3,
        gcc: 6,
    },
    Named {
        name: "cooperlake",
        vendor: INTEL,
        family: 6,
        models: &[(85, 85)],
        needs: &["adx", "rdseed", "clwb", "avx512_vnni", "avx512_bf16"],
        level: 4,
        gcc: 10,
    },
    Named {
        name: "cascadelake",
        vendor: INTEL,
        family: 6,
        models: &[(85, 85)],
        needs: &["adx", "rdseed", "clwb", "avx512_vnni"],
        level: 4,
        gcc: 9,
    },
    Named {
        name: "skylake-avx512",
        vendor: INTEL,
        family: 6,
        models: &[(85, 85)],
        needs: SKYLAKE_AVX512,
        level: 4,
        gcc: 6,
    },
    Named {
        name: "icelake-client",
        vendor: INTEL,
        family: 6,
        models: &[(125, 126)],
        needs: ICELAKE,
        level: 4,
        gcc: 8,
    },
    Named {
        name: "icelake-server",
        vendor: INTEL,
        family: 6,
        models: &[(106, 106), (108, 108)],
        needs: ICELAKE,
        level: 4,
        gcc: 8,
    },
    Named {
        name: "tigerlake",
        vendor: INTEL,
        family: 6,
        models: &[(140, 141)],
        needs: ICELAKE,
        level: 4,
        gcc: 10,
    },
    Named {
        name: "rocketlake",
        vendor: INTEL,
        family: 6,
        models: &[(167, 167)],
        needs: ICELAKE,
        level: 4,
        gcc: 11,
    },
    Named {
        name: "alderlake",
        vendor: INTEL,
        family: 6,
        models: &[(151, 151), (154, 154), (183, 183), (186, 186), (191, 191)],
        needs: ALDERLAKE,
        level: 3,
        gcc: 11,
    },
    Named {
        name: "meteorlake",
        vendor: INTEL,
        family: 6,
        models: &[(170, 170), (172, 172)],
        needs: ALDERLAKE,
        level: 3,
        gcc: 13,
    },
    Named {
        name: "arrowlake",
        vendor: INTEL,
        family: 6,
        models: &[(181, 181), (197, 197)],
        needs: ALDERLAKE,
        level: 3,
        gcc: 14,
    },
    Named {
        name: "sapphirerapids",
        vendor: INTEL,
        family: 6,
        models: &[(143, 143), (207, 207)],
        needs: SAPPHIRE,
        level: 4,
        gcc: 11,
    },
    Named { name: "znver1", vendor: AMD, family: 23, models: &[(0, 47)], needs: ZEN1, level: 3, gcc: 6 },
    Named { name: "znver2", vendor: AMD, family: 23, models: &[(48, 255)], needs: ZEN2, level: 3, gcc: 9 },
    Named {
        name: "znver3",
        vendor: AMD,
        family: 25,
        models: &[(0, 15), (32, 95)],
        needs: ZEN3,
        level: 3,
        gcc: 11,
    },
    Named {
        name: "znver4",
        vendor: AMD,
        family: 25,
        models: &[(16, 31), (96, 175)],
        needs: ZEN4,
        level: 4,
        gcc: 13,
    },
    Named { name: "znver5", vendor: AMD, family: 26, models: &[(0, 127)], needs: ZEN5, level: 4, gcc: 14 },
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

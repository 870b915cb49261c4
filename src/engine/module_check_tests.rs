// SPDX-License-Identifier: GPL-3.0-or-later
//! The gate against objects that the machine's own assembler makes.

use super::*;
use std::process::Command;

/// Assembles a module-like object: `code` in .text, and what modpost adds.
fn object(code: &str, extra: &str, modinfo: &str) -> Vec<u8> {
    let dir = tempfile::tempdir().unwrap();
    let source = format!(
        ".text\n.globl work\n.type work, @function\nwork:\n{code}\n\tret\n.size work, .-work\n\
         .section .modinfo,\"a\"\n{modinfo}\n\
         .section .gnu.linkonce.this_module,\"aw\"\n.fill 896\n\
         .section .rodata,\"a\"\n.fill 512\n{extra}\n.section .note.GNU-stack,\"\",@progbits\n"
    );
    let (asm, out) = (dir.path().join("m.s"), dir.path().join("m.o"));
    std::fs::write(&asm, source).unwrap();
    let status = Command::new("as").arg("--64").arg("-o").arg(&out).arg(&asm).status().unwrap();
    assert!(status.success(), "the assembler refused the test's own source");
    std::fs::read(out).unwrap()
}

const MODINFO: &str = ".asciz \"name=vmmon\"\n.asciz \"vermagic=6.1 SMP mod_unload \"";

fn gate(bytes: &[u8]) -> Result<Passed, GateError> {
    let kernel = BTreeSet::from(["printk"]);
    let others = BTreeSet::from(["vmmon_hook".to_owned()]);
    check(
        bytes,
        &Expected { name: "vmmon", vermagic: "6.1 SMP mod_unload", kernel: &kernel, others: &others },
    )
}

fn refused(bytes: &[u8]) -> String {
    gate(bytes).unwrap_err().to_string()
}

#[test]
fn plain_code_passes_and_is_read_to_its_end() {
    let code = "call printk\n call vmmon_hook\n movq foo@GOTPCREL(%rip), %rax\n prefetchnta (%rax)\n sfence\n\
                movnti %rax, (%rbx)\n popcnt %rax, %rbx\n ud2\n .weak foo\n";
    let passed = gate(&object(code, "", MODINFO)).unwrap();
    assert_eq!(passed.instructions, 9);
}

#[test]
fn exported_symbols_are_seen_for_the_other_module() {
    let extra = ".section ___ksymtab+x,\"a\"\n__ksymtab_vmmon_x: .long 0\n";
    assert_eq!(gate(&object("nop", extra, MODINFO)).unwrap().exports, BTreeSet::from(["vmmon_x".to_owned()]));
}

#[test]
fn every_kind_of_vector_and_floating_point_use_is_refused_with_its_place() {
    for (code, what) in [
        ("movups %xmm0, (%rax)", "movups uses xmm0"),
        ("vaddps %ymm1, %ymm2, %ymm3", "vaddps uses ymm"),
        ("vmovdqu64 %zmm17, (%rax)", "vmovdqu64 uses zmm17"),
        ("kmovw %k1, %eax", "kmovw uses k1"),
        ("movq %mm3, (%rax)", "movq uses mm3"),
        ("fldpi", "fldpi"),
        ("fadd %st(1), %st", "fadd uses st"),
        ("cvtsi2sd %eax, %xmm9", "cvtsi2sd uses xmm9"),
        ("fxsave (%rax)", "fxsave"),
        ("xsave (%rax)", "xsave"),
        ("ldmxcsr (%rax)", "ldmxcsr moves floating point state"),
        ("emms", "emms"),
        ("fninit", "fninit"),
        ("vzeroupper", "vzeroupper"),
        ("maskmovdqu %xmm1, %xmm2", "maskmovdqu uses xmm"),
    ] {
        let said = refused(&object(&format!("nop\n nop\n {code}"), "", MODINFO));
        assert!(said.contains(&format!("work+0x2 (.text+0x2) {what}")), "{code}: {said}");
        assert!(said.contains("build it in the vanilla mode"), "{said}");
    }
}

#[test]
fn code_in_other_sections_is_read_too() {
    for section in [
        ".init.text",
        ".exit.text",
        ".text.unlikely",
        ".altinstr_replacement",
        ".noinstr.text",
        ".text$cross",
    ] {
        let extra = format!(".section {section},\"ax\"\nmovaps %xmm1, %xmm2\n");
        let said = refused(&object("nop", &extra, MODINFO));
        assert!(said.contains(&format!("{section}+0x0 movaps uses xmm")), "{section}: {said}");
    }
}

#[test]
fn code_that_is_none_is_refused() {
    let said = refused(&object("nop\n .byte 0x06", "", MODINFO));
    assert!(said.contains("work+0x1"), "{said}");
}

#[test]
fn another_kernel_s_module_is_refused() {
    let other = ".asciz \"name=vmmon\"\n.asciz \"vermagic=6.2 SMP mod_unload \"";
    let said = refused(&object("nop", "", other));
    assert!(said.contains("vermagic `6.2 SMP mod_unload` where `6.1 SMP mod_unload` is needed"), "{said}");
    let renamed = MODINFO.replace("vmmon", "rootkit");
    assert!(refused(&object("nop", "", &renamed)).contains("name `rootkit` where `vmmon`"));
    assert!(refused(&object("nop", "", ".asciz \"name=vmmon\"")).contains("vermagic `nothing`"));
}

#[test]
fn symbols_that_nobody_exports_are_named() {
    let said = refused(&object("call del_timer_sync\n call printk\n call get_fs", "", MODINFO));
    assert!(said.contains("needs del_timer_sync, get_fs, which"), "{said}");
}

#[test]
fn unexpected_notes_sections_and_signatures_are_refused() {
    let note = ".section .note.strange,\"a\",@note\n.long 4, 0, 1\n.asciz \"abc\"\n";
    assert!(refused(&object("nop", note, MODINFO)).contains("the note .note.strange"));
    let wx = ".section .both,\"awx\"\nnop\n";
    assert!(refused(&object("nop", wx, MODINFO)).contains("writable and executable"));
    let mut signed = object("nop", "", MODINFO);
    signed.extend([0; 12]);
    signed.extend(b"~Module signature appended~\n");
    assert!(refused(&signed).contains("a signature of somebody else's"));
}

#[test]
fn what_is_no_module_is_told_apart() {
    assert!(refused(b"").contains("it has 0 bytes"));
    assert!(refused(&[0x7f; 5000]).contains("is no module for an x86-64 kernel"));
    let good = object("nop", "", MODINFO);
    assert!(refused(&good[..2000]).contains("is no module for an x86-64 kernel"));
    let mut arm = good.clone();
    arm[18] = 0xb7;
    assert!(refused(&arm).contains("another machine (ELF machine 183)"));
    let mut program = good;
    program[16] = 2;
    assert!(refused(&program).contains("no relocatable object (ELF type 2)"));
}

proptest::proptest! {
    #[test]
    fn damaged_objects_never_make_the_gate_panic(at in 0usize..6000, byte in proptest::prelude::any::<u8>()) {
        static GOOD: std::sync::LazyLock<Vec<u8>> =
            std::sync::LazyLock::new(|| object("call printk\n nop", "", MODINFO));
        let mut bytes = GOOD.clone();
        let at = at % bytes.len();
        bytes[at] = byte;
        let _ = gate(&bytes);
    }
}

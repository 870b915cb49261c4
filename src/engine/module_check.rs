// SPDX-License-Identifier: GPL-3.0-or-later
//! The gate between the sandbox and the machine: what a built module must be before it is signed and
//! installed. Pure.
//!
//! The kernel saves no floating point or vector state when it is entered, so that a module whose code
//! touches such registers outside of `kernel_fpu_begin()` quietly destroys those of whatever program ran
//! before (Documentation/core-api/floating-point.rst). Compiler flags promise that it does not; here the
//! machine code itself is read.

use super::modinfo::{Modinfo, exports, same_name, same_vermagic};
use iced_x86::{
    CpuidFeature, Decoder, DecoderOptions, Instruction, InstructionInfoFactory, Mnemonic, Register,
};
use object::elf;
use object::read::elf::{ElfFile64, FileHeader};
use object::{Endianness, Object, ObjectSection, ObjectSymbol, SectionFlags, SymbolSection};
use std::collections::BTreeSet;

/// The smallest file that can be a module at all.
const SMALLEST: usize = 1024;

/// How many findings of one kind are named.
const NAMED: usize = 5;

/// What a module must be.
#[derive(Debug, Clone, Copy)]
pub struct Expected<'a> {
    /// Its name ("vmmon").
    pub name: &'a str,
    /// vermagic of the kernel.
    pub vermagic: &'a str,
    /// Symbols that the kernel exports (Module.symvers).
    pub kernel: &'a BTreeSet<&'a str>,
    /// Symbols that the other modules of the build export.
    pub others: &'a BTreeSet<String>,
}

/// What was seen of a module that passed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Passed {
    /// Machine instructions that were read.
    pub instructions: usize,
    /// Symbols that it exports.
    pub exports: BTreeSet<String>,
}

/// Why a built file does not leave the sandbox.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum GateError {
    /// Not an ELF object for this kind of machine.
    #[error("{name}.ko is no module for an x86-64 kernel: {why}; look into the log of its build")]
    NotAModule {
        /// Module name.
        name: String,
        /// What it is instead.
        why: String,
    },
    /// Says something else about itself than it should.
    #[error(
        "{name}.ko says {key} `{said}` where `{wanted}` is needed; it was built against other headers than those \
         of this kernel: install the headers of just this kernel and build again"
    )]
    Modinfo {
        /// Module name.
        name: String,
        /// Key in `.modinfo`.
        key: &'static str,
        /// What it says.
        said: String,
        /// What it should say.
        wanted: String,
    },
    /// Needs symbols that nobody has.
    #[error(
        "{name}.ko needs {}, which neither this kernel nor the other modules export; the kernel would refuse to \
         load it", .symbols.join(", ")
    )]
    Undefined {
        /// Module name.
        name: String,
        /// The symbols.
        symbols: Vec<String>,
    },
    /// Touches floating point or vector registers.
    #[error(
        "{name}.ko touches floating point or vector registers, which would destroy those of running programs: {}; \
         build it in the vanilla mode, and report this", .places.join("; ")
    )]
    Vector {
        /// Module name.
        name: String,
        /// Function, address and instruction.
        places: Vec<String>,
    },
    /// Code that cannot be read.
    #[error(
        "{name}.ko holds code that cannot be read as machine instructions, at {place}; nobody can vouch for it, so it \
         is not installed: report this"
    )]
    Unreadable {
        /// Module name.
        name: String,
        /// Section and address.
        place: String,
    },
    /// Holds something that no build puts there.
    #[error("{name}.ko holds {what}, which no build of it puts there; it is not installed")]
    Unexpected {
        /// Module name.
        name: String,
        /// What.
        what: String,
    },
}

/// Notes that kernel builds put into modules (build id, kernel's ELF notes, control-flow properties).
const NOTES: [&str; 4] = [".note.gnu.build-id", ".note.Linux", ".note.gnu.property", ".note.GNU-stack"];

/// Symbols that the linker and modpost pass over as undefined (scripts/mod/modpost.c, `ignore_undef_symbol`).
const NOBODYS: [&str; 2] = ["_GLOBAL_OFFSET_TABLE_", "__this_module"];

/// Checks a freshly built, unsigned module.
///
/// # Errors
/// The first reason for which it must not be installed.
pub fn check(bytes: &[u8], expected: &Expected<'_>) -> Result<Passed, GateError> {
    let name = expected.name;
    let no_module = |why: String| GateError::NotAModule { name: name.to_owned(), why };
    if bytes.len() < SMALLEST {
        return Err(no_module(format!("it has {} bytes", bytes.len())));
    }
    let elf = ElfFile64::<Endianness>::parse(bytes).map_err(|e| no_module(e.to_string()))?;
    let (header, endian) = (elf.elf_header(), elf.endian());
    if endian != Endianness::Little || header.e_machine(endian) != elf::EM_X86_64 {
        return Err(no_module(format!(
            "it is for another machine (ELF machine {})",
            header.e_machine(endian)
        )));
    }
    if header.e_type(endian) != elf::ET_REL {
        return Err(no_module(format!("it is no relocatable object (ELF type {})", header.e_type(endian))));
    }
    let file = object::File::parse(bytes).map_err(|e| no_module(e.to_string()))?;
    let info = Modinfo::of_module(bytes).map_err(|e| no_module(e.to_string()))?;
    if file.section_by_name(".gnu.linkonce.this_module").is_none() {
        return Err(no_module("it has no section .gnu.linkonce.this_module".to_owned()));
    }
    check_modinfo(&info, expected)?;
    check_sections(&file, bytes, name)?;
    check_symbols(&file, expected)?;
    let instructions = check_code(&file, name)?;
    Ok(Passed { instructions, exports: exports(&file) })
}

fn check_modinfo(info: &Modinfo, expected: &Expected<'_>) -> Result<(), GateError> {
    let said = |key: &'static str| info.get(key).unwrap_or("nothing");
    let wrong = |key: &'static str, wanted: &str| GateError::Modinfo {
        name: expected.name.to_owned(),
        key,
        said: said(key).trim_end().to_owned(),
        wanted: wanted.trim_end().to_owned(),
    };
    if !same_name(said("name"), expected.name) {
        return Err(wrong("name", expected.name));
    }
    if !same_vermagic(said("vermagic"), expected.vermagic) {
        return Err(wrong("vermagic", expected.vermagic));
    }
    Ok(())
}

fn check_sections(file: &object::File<'_>, bytes: &[u8], name: &str) -> Result<(), GateError> {
    let unexpected = |what: String| GateError::Unexpected { name: name.to_owned(), what };
    for section in file.sections() {
        let Ok(section_name) = section.name() else {
            return Err(unexpected("a section whose name cannot be read".to_owned()));
        };
        let SectionFlags::Elf { sh_flags } = section.flags() else { continue };
        if section.kind() == object::SectionKind::Note && !NOTES.contains(&section_name) {
            return Err(unexpected(format!("the note {section_name}")));
        }
        let both = u64::from(elf::SHF_WRITE | elf::SHF_EXECINSTR | elf::SHF_ALLOC);
        if sh_flags & both == both {
            return Err(unexpected(format!("the section {section_name}, writable and executable at once")));
        }
    }
    if super::modinfo::take_signature(bytes).map_or(true, |s| s.is_some()) {
        return Err(unexpected("a signature of somebody else's".to_owned()));
    }
    Ok(())
}

fn check_symbols(file: &object::File<'_>, expected: &Expected<'_>) -> Result<(), GateError> {
    let mut missing = BTreeSet::new();
    for symbol in file.symbols().filter(|s| s.is_undefined() && !s.is_weak()) {
        let name = symbol.name().unwrap_or("?");
        if !name.is_empty()
            && !NOBODYS.contains(&name)
            && !expected.kernel.contains(name)
            && !expected.others.contains(name)
        {
            missing.insert(name.to_owned());
        }
    }
    if missing.is_empty() {
        return Ok(());
    }
    Err(GateError::Undefined { name: expected.name.to_owned(), symbols: missing.into_iter().collect() })
}

/// Reads all machine code and returns the number of instructions.
fn check_code(file: &object::File<'_>, name: &str) -> Result<usize, GateError> {
    let mut factory = InstructionInfoFactory::new();
    let mut count = 0;
    let mut places = Vec::new();
    for section in file.sections() {
        let SectionFlags::Elf { sh_flags } = section.flags() else { continue };
        if sh_flags & u64::from(elf::SHF_EXECINSTR) == 0 {
            continue;
        }
        let section_name = section.name().unwrap_or("?").to_owned();
        let place = |at: u64| match function_at(file, section.index(), at) {
            Some((function, offset)) => format!("{function}+{offset:#x} ({section_name}+{at:#x})"),
            None => format!("{section_name}+{at:#x}"),
        };
        let Ok(code) = section.uncompressed_data() else {
            return Err(GateError::Unreadable { name: name.to_owned(), place: place(0) });
        };
        // Addresses in calls and data are filled in at load time and read as zero here: that changes no
        // instruction's length or kind, so that code is read from one end to the other.
        let mut decoder = Decoder::with_ip(64, &code, 0, DecoderOptions::NONE);
        let mut instruction = Instruction::default();
        while decoder.can_decode() {
            decoder.decode_out(&mut instruction);
            if instruction.is_invalid() {
                return Err(GateError::Unreadable { name: name.to_owned(), place: place(instruction.ip()) });
            }
            count += 1;
            if let Some(what) = vector_use(&instruction, &mut factory) {
                places.push(format!("{} {what}", place(instruction.ip())));
                if places.len() == NAMED {
                    return Err(GateError::Vector { name: name.to_owned(), places });
                }
            }
        }
    }
    if !places.is_empty() {
        return Err(GateError::Vector { name: name.to_owned(), places });
    }
    if count == 0 {
        return Err(GateError::NotAModule { name: name.to_owned(), why: "it holds no code".to_owned() });
    }
    Ok(count)
}

/// The function at an address of a section, and how far into it.
fn function_at(file: &object::File<'_>, section: object::SectionIndex, at: u64) -> Option<(String, u64)> {
    file.symbols()
        .filter(|s| s.section() == SymbolSection::Section(section) && s.kind() == object::SymbolKind::Text)
        .filter(|s| s.address() <= at && (s.size() == 0 || at < s.address() + s.size()))
        .max_by_key(|s| (s.address(), s.size()))
        .and_then(|s| Some((s.name().ok()?.to_owned(), at - s.address())))
        .filter(|(name, _)| !name.is_empty())
}

fn is_vector(register: Register) -> bool {
    register.is_vector_register()
        || register.is_st()
        || register.is_mm()
        || register.is_k()
        || register.is_tmm()
}

/// What an instruction does with floating point or vector state; `None` when it leaves it alone.
/// Instructions that came with the vector extensions but use general registers or memory only
/// (prefetch, fences, `movnti`, `popcnt`, `andn`) are allowed.
fn vector_use(instruction: &Instruction, factory: &mut InstructionInfoFactory) -> Option<String> {
    let mnemonic = format!("{:?}", instruction.mnemonic()).to_lowercase();
    // Those that are written in it first, for the message; then those that it uses without naming them.
    let named = (0..instruction.op_count()).map(|i| instruction.op_register(i)).find(|r| is_vector(*r));
    let used = named.or_else(|| {
        let info = factory.info(instruction);
        info.used_registers().iter().map(|r| r.register()).find(|r| is_vector(*r))
    });
    if let Some(register) = used {
        return Some(format!("{mnemonic} uses {}", format!("{register:?}").to_lowercase()));
    }
    // These name no register: they move the whole state, or its control words, from and to memory.
    let whole_state = instruction.code().is_save_restore_instruction()
        || matches!(
            instruction.mnemonic(),
            Mnemonic::Ldmxcsr
                | Mnemonic::Stmxcsr
                | Mnemonic::Vldmxcsr
                | Mnemonic::Vstmxcsr
                | Mnemonic::Emms
                | Mnemonic::Femms
                | Mnemonic::Vzeroall
                | Mnemonic::Vzeroupper
                | Mnemonic::Tilerelease
                | Mnemonic::Ldtilecfg
                | Mnemonic::Sttilecfg
        )
        || instruction.cpuid_features().iter().any(|f| {
            matches!(
                f,
                CpuidFeature::FPU
                    | CpuidFeature::FPU287
                    | CpuidFeature::FPU287XL_ONLY
                    | CpuidFeature::FPU387
                    | CpuidFeature::FPU387SL_ONLY
            )
        });
    whole_state.then(|| format!("{mnemonic} moves floating point state"))
}

#[cfg(test)]
#[path = "module_check_tests.rs"]
mod tests;

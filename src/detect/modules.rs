// SPDX-License-Identifier: GPL-3.0-or-later
//! Module files (`.ko`): their `.modinfo`, their signature, and the modules that are loaded.

use super::Finding;
use super::look::Look;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use sha2::Digest;
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::io::Read;

/// A module file on disk.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ModuleFile {
    /// Its module name ("vmmon").
    pub name: String,
    /// Its path in the root ("/lib/modules/K/updates/dkms/vmmon.ko.xz").
    pub path: String,
    /// Whether `modules.dep` names it: only then would `modprobe` load it.
    pub in_modules_dep: bool,
    /// Its vermagic.
    pub vermagic: Finding<String>,
    /// Whether that is the vermagic of the kernel it lies under.
    pub vermagic_fits: Finding<bool>,
    /// Its `version`.
    pub version: Option<String>,
    /// Who signed it, as `modinfo` shows; `None` when it is not signed.
    pub signature: Finding<Option<ModuleSignature>>,
    /// What Hostwright noted in it: `hostwright_*` fields of its modinfo, name without the prefix → value.
    pub hostwright: BTreeMap<String, String>,
    /// SHA-256 of the file as it lies there, hexadecimal.
    pub sha256: Finding<String>,
}

/// The signature at the end of a module (`~Module signature appended~`, PKCS#7).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ModuleSignature {
    /// Common name of the signing certificate's issuer.
    pub signer: Option<String>,
    /// Serial number of the signing certificate, or its subject key id, hexadecimal without colons.
    pub key_id: Option<String>,
    /// Digest ("sha256").
    pub hash: Option<String>,
}

/// A module in the running kernel.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct LoadedModule {
    /// Its name, with underscores.
    pub name: String,
    /// Its size in memory, bytes.
    pub size: u64,
    /// How many references hold it.
    pub references: u32,
    /// The modules that use it.
    pub used_by: Vec<String>,
    /// Its taint letters ("OE": out of tree, unsigned).
    pub taint: String,
}

/// The modules in the running kernel that matter here.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct LoadedModules {
    /// How many are loaded in all.
    pub count: u32,
    /// VMware's (`vmmon`, `vmnet`, `vmci`, `vsock` transports), KVM's, VirtualBox's, graphics drivers.
    pub modules: Vec<LoadedModule>,
}

impl LoadedModules {
    /// The loaded module of this name.
    pub fn get(&self, name: &str) -> Option<&LoadedModule> {
        self.modules.iter().find(|m| m.name == name)
    }
}

/// Why a module file could not be read.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum ModuleError {
    /// Its compression cannot be undone.
    #[error("it cannot be decompressed ({0}); it is damaged, build or install it again")]
    Compression(String),
    /// It is no ELF file.
    #[error("it is no ELF file ({0}); it is damaged, build or install it again")]
    Elf(String),
    /// It has no `.modinfo` section.
    #[error("it has no .modinfo section; it is no kernel module")]
    NoModinfo,
    /// Its signature is damaged.
    #[error("its signature is damaged ({0}); sign it again")]
    Signature(String),
}

/// No module is larger than this, compressed or not.
const MODULE_LIMIT: u64 = 64 << 20;

/// The bytes of a module file as the kernel loads it, decompressed by what it begins with.
///
/// # Errors
/// When the compressed data is damaged or would be larger than 64 MiB.
pub fn decompress(bytes: &[u8]) -> Result<Cow<'_, [u8]>, ModuleError> {
    let reader: Box<dyn Read + '_> = if bytes.starts_with(b"\x1f\x8b") {
        Box::new(flate2::read::GzDecoder::new(bytes))
    } else if bytes.starts_with(b"\xfd7zXZ\0") {
        Box::new(liblzma::read::XzDecoder::new(bytes))
    } else if bytes.starts_with(b"\x28\xb5\x2f\xfd") {
        let decoder = zstd::stream::read::Decoder::with_buffer(bytes);
        Box::new(decoder.map_err(|e| ModuleError::Compression(e.to_string()))?)
    } else {
        return Ok(Cow::Borrowed(bytes));
    };
    let mut out = Vec::new();
    reader
        .take(MODULE_LIMIT + 1)
        .read_to_end(&mut out)
        .map_err(|e| ModuleError::Compression(e.to_string()))?;
    if out.len() as u64 > MODULE_LIMIT {
        return Err(ModuleError::Compression("larger than any module".to_owned()));
    }
    Ok(Cow::Owned(out))
}

/// The `.modinfo` section: `key=value` texts that end with a zero byte.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Modinfo {
    /// Keys and values, in their order; a key may come several times (`alias`, `parm`).
    pub fields: Vec<(String, String)>,
}

impl Modinfo {
    /// Reads the content of the section.
    pub fn parse(section: &[u8]) -> Self {
        let texts = section.split(|b| *b == 0).filter(|t| !t.is_empty());
        let fields = texts.filter_map(|text| {
            let text = String::from_utf8_lossy(text);
            text.split_once('=').map(|(k, v)| (k.to_owned(), v.to_owned()))
        });
        Self { fields: fields.collect() }
    }

    /// Reads it out of a module (not compressed).
    ///
    /// # Errors
    /// When this is no ELF file or has no `.modinfo`.
    pub fn of_module(elf: &[u8]) -> Result<Self, ModuleError> {
        use object::{Object, ObjectSection};
        let file = object::File::parse(elf).map_err(|e| ModuleError::Elf(e.to_string()))?;
        let section = file.section_by_name(".modinfo").ok_or(ModuleError::NoModinfo)?;
        Ok(Self::parse(section.data().map_err(|e| ModuleError::Elf(e.to_string()))?))
    }

    /// The first value of a key.
    pub fn get(&self, key: &str) -> Option<&str> {
        self.fields.iter().find(|(k, _)| k == key).map(|(_, v)| v.as_str())
    }
}

/// What stands at the very end of a signed module (kernel/module/signing.c).
const SIGNATURE_MAGIC: &[u8] = b"~Module signature appended~\n";

/// The PKCS#7 message at the end of a module (not compressed); `None` when it is not signed.
///
/// # Errors
/// When the trailer contradicts the file, or is of a kind that the kernel does not take any more.
pub fn signature_message(module: &[u8]) -> Result<Option<&[u8]>, ModuleError> {
    let Some(rest) = module.strip_suffix(SIGNATURE_MAGIC) else { return Ok(None) };
    let damaged = |what: &str| ModuleError::Signature(what.to_owned());
    // struct module_signature (include/linux/module_signature.h): algo, hash, id_type, signer_len,
    // key_id_len, three bytes of padding, length of the message (big endian).
    let (rest, trailer) = rest.split_last_chunk::<12>().ok_or_else(|| damaged("it is cut off"))?;
    if trailer[2] != 2 {
        return Err(damaged("it is no PKCS#7 message"));
    }
    let length = u32::from_be_bytes([trailer[8], trailer[9], trailer[10], trailer[11]]) as usize;
    let from = rest.len().checked_sub(length).ok_or_else(|| damaged("it is longer than the file"))?;
    Ok(rest.get(from..))
}

/// Who signed a module (not compressed), as `modinfo` shows it; `None` when it is not signed.
///
/// # Errors
/// When there is a signature and it cannot be read.
pub fn signature(module: &[u8]) -> Result<Option<ModuleSignature>, ModuleError> {
    let Some(message) = signature_message(module)? else { return Ok(None) };
    parse_signature_message(message).map(Some)
}

fn parse_signature_message(message: &[u8]) -> Result<ModuleSignature, ModuleError> {
    use cms::content_info::ContentInfo;
    use cms::signed_data::{SignedData, SignerIdentifier};
    use x509_cert::der::{Decode, Encode, SliceReader};
    let damaged = |e: x509_cert::der::Error| ModuleError::Signature(e.to_string());
    // Padding behind the message is not an error to the kernel, so it is none here.
    let mut reader = SliceReader::new(message).map_err(damaged)?;
    let content = ContentInfo::decode(&mut reader).map_err(damaged)?;
    let content = content.content.to_der().map_err(damaged)?;
    let signed = SignedData::from_der(&content).map_err(damaged)?;
    let Some(info) = signed.signer_infos.0.iter().next() else {
        return Err(ModuleError::Signature("nobody signed it".to_owned()));
    };
    let (signer, key_id) = match &info.sid {
        SignerIdentifier::IssuerAndSerialNumber(id) => {
            (super::certificate::common_name(&id.issuer), hex::encode(id.serial_number.as_bytes()))
        }
        SignerIdentifier::SubjectKeyIdentifier(id) => (None, hex::encode(id.0.as_bytes())),
    };
    let hash = match info.digest_alg.oid.to_string().as_str() {
        "1.3.14.3.2.26" => "sha1",
        "2.16.840.1.101.3.4.2.4" => "sha224",
        "2.16.840.1.101.3.4.2.1" => "sha256",
        "2.16.840.1.101.3.4.2.2" => "sha384",
        "2.16.840.1.101.3.4.2.3" => "sha512",
        "2.16.840.1.101.3.4.2.8" => "sha3-256",
        "2.16.840.1.101.3.4.2.9" => "sha3-384",
        "2.16.840.1.101.3.4.2.10" => "sha3-512",
        other => other,
    }
    .to_owned();
    Ok(ModuleSignature { signer, key_id: Some(key_id), hash: Some(hash) })
}

/// What is said about the modules of a kernel in `modules.dep`: their paths below its folder.
pub fn parse_modules_dep(text: &str) -> impl Iterator<Item = &str> {
    text.lines().filter_map(|line| line.split_once(':').map(|(path, _)| path))
}

/// The module name of a file ("kernel/net/vmw-x.ko.xz" is "vmw_x"); `None` when it is no module file.
pub fn module_name(path: &str) -> Option<String> {
    let file = path.rsplit('/').next()?;
    let stem = file
        .strip_suffix(".ko")
        .or_else(|| [".gz", ".xz", ".zst"].iter().find_map(|s| file.strip_suffix(s)?.strip_suffix(".ko")))?;
    (!stem.is_empty()).then(|| stem.replace('-', "_"))
}

/// One line of `/proc/modules`: name, size, references, users, state, address, taint.
fn parse_proc_modules_line(line: &str) -> Option<LoadedModule> {
    let mut words = line.split_whitespace();
    let name = words.next()?.to_owned();
    let size = words.next()?.parse().ok()?;
    // "-" when the kernel cannot unload modules.
    let references = words.next()?.parse().unwrap_or(0);
    let used_by =
        words.next()?.split(',').filter(|u| !u.is_empty() && *u != "-").map(str::to_owned).collect();
    let taint = words.nth(2).unwrap_or("").trim_matches(['(', ')']).to_owned();
    Some(LoadedModule { name, size, references, used_by, taint })
}

/// `/proc/modules`, whole.
pub fn parse_proc_modules(text: &str) -> Vec<LoadedModule> {
    text.lines().filter_map(parse_proc_modules_line).collect()
}

/// Whether a loaded module is of interest here.
fn matters(name: &str) -> bool {
    matches!(
        name,
        "vmmon" | "vmnet" | "vmci" | "vmblock" | "vmw_vmci" | "vsock" | "nouveau" | "amdgpu" | "i915" | "xe"
    ) || ["vmw_vsock", "kvm", "vbox", "nvidia", "vfio"].iter().any(|prefix| name.starts_with(prefix))
}

/// Reads the modules in the running kernel.
pub(super) fn read_loaded(look: &Look<'_>) -> Finding<LoadedModules> {
    look.if_running(|| match look.text_if_there("/proc/modules") {
        Finding::Seen(Some(text)) => {
            let mut modules = parse_proc_modules(&text);
            let count = u32::try_from(modules.len()).unwrap_or(u32::MAX);
            modules.retain(|m| matters(&m.name));
            modules.sort_by(|a, b| a.name.cmp(&b.name));
            Finding::Seen(LoadedModules { count, modules })
        }
        // A kernel that has no loadable modules has no such file.
        Finding::Seen(None) => Finding::Seen(LoadedModules { count: 0, modules: vec![] }),
        Finding::CouldNotLook { why } => Finding::CouldNotLook { why },
    })
}

/// Reads a module file, decompressed.
pub(super) fn read_module(look: &Look<'_>, path: &str) -> Result<Vec<u8>, String> {
    let bytes = look.root().read_at_most(path, MODULE_LIMIT).map_err(|e| e.to_string())?;
    match decompress(&bytes) {
        Ok(Cow::Owned(module)) => Ok(module),
        Ok(Cow::Borrowed(_)) => Ok(bytes),
        Err(e) => Err(format!("{path}: {e}")),
    }
}

/// Looks at one module file below a kernel whose own modules carry `kernel_vermagic`.
pub(super) fn read_file(
    look: &Look<'_>,
    path: String,
    name: String,
    in_modules_dep: bool,
    release: &str,
    kernel_vermagic: &Finding<String>,
) -> ModuleFile {
    let bytes = look.root().read_at_most(&path, MODULE_LIMIT).map_err(|e| e.to_string());
    let sha256 = Finding::from(bytes.as_ref().map(|b| hex::encode(sha2::Sha256::digest(b))));
    let module = bytes
        .as_deref()
        .map_err(Clone::clone)
        .and_then(|b| decompress(b).map_err(|e| format!("{path}: {e}")));
    let modinfo = match &module {
        Ok(module) => Modinfo::of_module(module).map_err(|e| format!("{path}: {e}")),
        Err(e) => Err(e.clone()),
    };
    let signature = match &module {
        Ok(module) => Finding::from(signature(module).map_err(|e| format!("{path}: {e}"))),
        Err(e) => Finding::unseen(e.clone()),
    };
    let vermagic = match &modinfo {
        Ok(info) => match info.get("vermagic") {
            Some(magic) => Finding::Seen(magic.to_owned()),
            None => Finding::unseen(format!("{path}: it carries no vermagic")),
        },
        Err(e) => Finding::unseen(e.clone()),
    };
    let vermagic_fits = vermagic.as_ref().and_then(|magic| vermagic_fits(magic, release, kernel_vermagic));
    let version = modinfo.as_ref().ok().and_then(|i| i.get("version")).map(str::to_owned);
    let hostwright = modinfo
        .ok()
        .map(|info| info.fields)
        .unwrap_or_default()
        .into_iter()
        .filter_map(|(k, v)| k.strip_prefix("hostwright_").map(|k| (k.to_owned(), v)));
    ModuleFile {
        hostwright: hostwright.collect(),
        name,
        in_modules_dep,
        vermagic,
        vermagic_fits,
        version,
        signature,
        sha256,
        path,
    }
}

/// Whether the kernel would take a module's vermagic (kernel/module/version.c compares the whole text).
fn vermagic_fits(magic: &str, release: &str, kernel: &Finding<String>) -> Finding<bool> {
    match kernel {
        Finding::Seen(kernel) => Finding::Seen(magic.trim() == kernel.trim()),
        // Another release never fits, whatever the rest says.
        Finding::CouldNotLook { .. } if magic.split_whitespace().next() != Some(release) => {
            Finding::Seen(false)
        }
        Finding::CouldNotLook { why } => Finding::unseen(why.clone()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn module_names_are_those_of_the_kernel() {
        for (path, name) in [
            ("kernel/net/vmw_vsock/vmw_vsock_vmci_transport.ko", Some("vmw_vsock_vmci_transport")),
            ("updates/dkms/vmmon.ko.zst", Some("vmmon")),
            ("extra/snd-hda.ko.xz", Some("snd_hda")),
            ("misc/vmnet.ko.gz", Some("vmnet")),
            ("misc/vmnet.o", None),
            (".ko", None),
            ("vmmon.ko.bak", None),
        ] {
            assert_eq!(module_name(path).as_deref(), name, "{path}");
        }
    }

    #[test]
    fn loaded_modules_have_users_and_taint() {
        let text = "vmnet 73728 13 - Live 0xffffffffc0a81000 (OE)\nvmmon 155648 0 - Live 0xffffffffc0a55000 (OE)\nkvm 1404928 1 kvm_intel,\
                    irqbypass, Live 0x0000000000000000\nbad line\nx 16384 - - Live 0x0\n";
        let modules = parse_proc_modules(text);
        assert_eq!(modules.len(), 4);
        assert_eq!((modules[0].references, modules[0].taint.as_str()), (13, "OE"));
        assert_eq!(modules[2].used_by, ["kvm_intel", "irqbypass"]);
        assert_eq!(modules[3].references, 0);
    }

    #[test]
    fn every_compression_is_undone_by_its_first_bytes() {
        use std::io::Write;
        let content = b"\x7fELF and so on".repeat(100);
        let mut gz = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        gz.write_all(&content).unwrap();
        let mut xz = liblzma::write::XzEncoder::new(Vec::new(), 1);
        xz.write_all(&content).unwrap();
        let zst = zstd::encode_all(content.as_slice(), 1).unwrap();
        for packed in [gz.finish().unwrap(), xz.finish().unwrap(), zst, content.clone()] {
            assert_eq!(decompress(&packed).unwrap(), content.as_slice());
            if packed != content {
                assert!(matches!(decompress(&packed[..packed.len() / 2]), Err(ModuleError::Compression(_))));
            }
        }
    }

    #[test]
    fn a_signature_longer_than_its_file_is_damaged() {
        let mut module = b"\x7fELF".to_vec();
        module.extend([0, 0, 2, 0, 0, 0, 0, 0, 0, 1, 0, 0]);
        module.extend(SIGNATURE_MAGIC);
        assert!(matches!(signature(&module), Err(ModuleError::Signature(_))));
        assert_eq!(signature(b"\x7fELF"), Ok(None));
        assert!(matches!(signature(SIGNATURE_MAGIC), Err(ModuleError::Signature(_))));
    }

    #[test]
    fn another_release_never_fits_and_an_unknown_vermagic_is_not_guessed() {
        let unknown = Finding::unseen("x");
        let kernel = Finding::Seen("6.1.0-25-amd64 SMP preempt mod_unload modversions ".to_owned());
        assert!(
            vermagic_fits("6.1.0-25-amd64 SMP preempt mod_unload modversions", "6.1.0-25-amd64", &kernel)
                .is_true()
        );
        assert!(vermagic_fits("6.1.0-25-amd64 SMP mod_unload", "6.1.0-25-amd64", &kernel).is_false());
        assert!(vermagic_fits("6.1.0-24-amd64 SMP", "6.1.0-25-amd64", &unknown).is_false());
        assert!(!vermagic_fits("6.1.0-25-amd64 SMP", "6.1.0-25-amd64", &unknown).is_seen());
    }

    proptest! {
        #[test]
        fn no_bytes_make_these_parsers_panic(bytes in proptest::collection::vec(any::<u8>(), 0..400), text in "(?s).*") {
            let _ = decompress(&bytes);
            let _ = Modinfo::of_module(&bytes);
            Modinfo::parse(&bytes);
            let mut elf = b"\x7fELF\x02\x01\x01".to_vec();
            elf.extend(&bytes);
            let _ = Modinfo::of_module(&elf);
            let mut signed = bytes.clone();
            signed.extend([0, 0, 2, 0, 0, 0, 0, 0, 0, 0, 0, u8::try_from(bytes.len().min(255)).unwrap()]);
            signed.extend(SIGNATURE_MAGIC);
            let _ = signature(&signed);
            let _ = parse_signature_message(&bytes);
            parse_proc_modules(&text);
            parse_modules_dep(&text).for_each(|p| { module_name(p); });
        }
    }
}

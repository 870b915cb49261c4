// SPDX-License-Identifier: GPL-3.0-or-later
//! EFI variables (`efivarfs`) and signature lists (UEFI specification, "Signature Database").

use super::Finding;
use super::look::{Look, NOT_RUNNING};

/// `EFI_GLOBAL_VARIABLE`.
pub(super) const GLOBAL: &str = "8be4df61-93ca-11d2-aa0d-00e098032b8c";
/// `EFI_IMAGE_SECURITY_DATABASE_GUID`, of `db`.
pub(super) const SECURITY: &str = "d719b2cb-3d3a-4596-a3bc-dad00e67656f";
/// shim's, of the machine owner keys.
pub(super) const SHIM: &str = "605dab50-e046-4300-abb6-3dd810dd8b23";
/// systemd's boot loader interface.
pub(super) const LOADER: &str = "4a67b082-0a4c-41cf-b6c7-440b29bb8c4f";

/// `EFI_CERT_X509_GUID` as it lies in memory: the first three groups are little endian.
const X509: [u8; 16] =
    [0xa1, 0x59, 0xc0, 0xa5, 0xe4, 0x94, 0xa7, 0x4a, 0x87, 0xb5, 0xab, 0x15, 0x5c, 0x2b, 0xf0, 0x72];

/// No list of keys is larger than this.
const LIMIT: u64 = 1 << 20;

/// A list of keys that cannot be read.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("the signature list is damaged at byte {0}")]
pub struct DamagedList(pub usize);

/// The X.509 certificates (DER) in a sequence of EFI signature lists; other signatures are passed over.
///
/// # Errors
/// When a size contradicts the data.
pub fn certificates(lists: &[u8]) -> Result<Vec<&[u8]>, DamagedList> {
    // EFI_SIGNATURE_LIST: type (16), list size, header size, signature size (u32 each), header,
    // then signatures: owner (16) and data.
    let number = |at: usize| -> Option<usize> {
        let bytes = lists.get(at..at + 4)?;
        Some(u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]) as usize)
    };
    let mut found = Vec::new();
    let mut at = 0;
    while at < lists.len() {
        let damaged = DamagedList(at);
        let (Some(list), Some(header), Some(size)) = (number(at + 16), number(at + 20), number(at + 24))
        else {
            return Err(damaged);
        };
        let end = at.checked_add(list).filter(|end| *end <= lists.len());
        let first = (at + 28).checked_add(header);
        let (Some(end), Some(first)) = (end, first) else { return Err(damaged) };
        if first > end || size < 16 || !(end - first).is_multiple_of(size) {
            return Err(damaged);
        }
        if lists[at..at + 16] == X509 {
            found.extend(lists[first..end].chunks_exact(size).map(|signature| &signature[16..]));
        }
        at = end;
    }
    Ok(found)
}

/// The EFI variables of a machine.
pub(super) struct Variables<'a> {
    look: &'a Look<'a>,
    state: Finding<bool>,
}

const DIR: &str = "/sys/firmware/efi/efivars";

impl<'a> Variables<'a> {
    pub(super) fn new(look: &'a Look<'a>) -> Self {
        let state = if !look.running {
            Finding::unseen(NOT_RUNNING)
        } else if !look.exists("/sys/firmware") {
            Finding::unseen("/sys is not mounted")
        } else if !look.exists("/sys/firmware/efi") {
            Finding::Seen(false)
        } else {
            match look.root().list(DIR) {
                Ok(entries) if entries.is_empty() => Finding::unseen(
                    "efivarfs is not mounted; mount it with `mount -t efivarfs efivarfs /sys/firmware/efi/efivars`",
                ),
                Ok(_) => Finding::Seen(true),
                Err(e) => Finding::unseen(e.to_string()),
            }
        };
        Self { look, state }
    }

    /// Whether there are EFI variables to look at; seen and false on BIOS.
    pub(super) fn state(&self) -> &Finding<bool> {
        &self.state
    }

    /// The data of a variable, without the attributes before it; `None` when there is no such variable.
    pub(super) fn get(&self, name: &str, guid: &str) -> Finding<Option<Vec<u8>>> {
        match &self.state {
            Finding::CouldNotLook { why } => return Finding::unseen(why.clone()),
            Finding::Seen(false) => return Finding::Seen(None),
            Finding::Seen(true) => {}
        }
        match self.look.root().read_at_most(&format!("{DIR}/{name}-{guid}"), LIMIT) {
            // Four bytes of attributes come first (Documentation/filesystems/efivarfs.rst).
            Ok(bytes) => match bytes.split_first_chunk::<4>() {
                Some((_, data)) => Finding::Seen(Some(data.to_vec())),
                None => Finding::unseen(format!("the EFI variable {name} is cut off")),
            },
            Err(e) if e.is_not_found() => Finding::Seen(None),
            Err(e) => Finding::unseen(e.to_string()),
        }
    }

    /// A variable that holds one byte of truth.
    pub(super) fn flag(&self, name: &str, guid: &str) -> Finding<Option<bool>> {
        self.get(name, guid).map(|data| data.and_then(|d| d.last().copied()).map(|byte| byte == 1))
    }

    /// A variable that holds UTF-16 text.
    pub(super) fn text(&self, name: &str, guid: &str) -> Finding<Option<String>> {
        self.get(name, guid).map(|data| data.map(|d| utf16(&d)).filter(|t| !t.is_empty()))
    }

    /// shim's list of machine owner keys, as the kernel keeps it: the variable, its continuations
    /// (`MokListRT1`, …), or the kernel's own copy.
    pub(super) fn mok_list(&self) -> Finding<Option<Vec<u8>>> {
        let mut all = match self.get("MokListRT", SHIM) {
            Finding::Seen(Some(data)) => data,
            other => {
                let copy = self.look.root().read_at_most("/sys/firmware/efi/mok-variables/MokListRT", LIMIT);
                return match copy {
                    Ok(data) => Finding::Seen(Some(data)),
                    Err(e) if e.is_not_found() => other,
                    Err(e) => Finding::unseen(e.to_string()),
                };
            }
        };
        for n in 1..64 {
            match self.get(&format!("MokListRT{n}"), SHIM) {
                Finding::Seen(Some(more)) => all.extend(more),
                Finding::Seen(None) => break,
                unseen @ Finding::CouldNotLook { .. } => return unseen,
            }
        }
        Finding::Seen(Some(all))
    }
}

/// UTF-16 (little endian) up to its zero.
pub(super) fn utf16(bytes: &[u8]) -> String {
    let units = bytes.chunks_exact(2).map(|c| u16::from_le_bytes([c[0], c[1]])).take_while(|u| *u != 0);
    char::decode_utf16(units).map(|c| c.unwrap_or(char::REPLACEMENT_CHARACTER)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn list(kind: [u8; 16], signatures: &[&[u8]]) -> Vec<u8> {
        let size = 16 + signatures.first().map_or(0, |s| s.len());
        let mut out = kind.to_vec();
        out.extend(u32::try_from(28 + size * signatures.len()).unwrap().to_le_bytes());
        out.extend(0u32.to_le_bytes());
        out.extend(u32::try_from(size).unwrap().to_le_bytes());
        for signature in signatures {
            out.extend([7; 16]);
            out.extend(*signature);
        }
        out
    }

    #[test]
    fn certificates_are_found_among_hashes() {
        let mut lists = list([1; 16], &[&[2; 32], &[3; 32]]);
        lists.extend(list(X509, &[b"one"]));
        lists.extend(list(X509, &[b"second"]));
        assert_eq!(certificates(&lists).unwrap(), [b"one".as_slice(), b"second"]);
        assert_eq!(certificates(&[]).unwrap(), Vec::<&[u8]>::new());
    }

    #[test]
    fn a_damaged_list_is_an_error_and_not_an_empty_one() {
        let whole = list(X509, &[b"one"]);
        assert_eq!(certificates(&whole[..whole.len() - 1]), Err(DamagedList(0)));
        assert_eq!(certificates(&whole[..10]), Err(DamagedList(0)));
        let mut endless = whole.clone();
        endless[16..20].copy_from_slice(&0u32.to_le_bytes());
        assert_eq!(certificates(&endless), Err(DamagedList(0)));
    }

    proptest! {
        #[test]
        fn no_bytes_make_these_parsers_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200), sizes in any::<[u32; 3]>()) {
            let _ = certificates(&bytes);
            let mut lists = X509.to_vec();
            for size in sizes {
                lists.extend((size % 300).to_le_bytes());
            }
            lists.extend(&bytes);
            let _ = certificates(&lists);
            utf16(&bytes);
        }
    }
}

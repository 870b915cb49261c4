// SPDX-License-Identifier: GPL-3.0-or-later
//! Rows of the tables: read from CSV, each checked, errors with their line.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Which table a file is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Cards.
    Gpus,
    /// Drivers.
    Drivers,
    /// Drivers of guests.
    GuestDrivers,
}

/// Version of the vGPU software ("16.9").
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, JsonSchema)]
#[schemars(with = "String")]
pub struct Branch {
    /// The branch proper ("16").
    pub major: u32,
    /// The release in it ("9").
    pub minor: u32,
}

impl std::fmt::Display for Branch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}.{}", self.major, self.minor)
    }
}

impl std::str::FromStr for Branch {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("\u{201c}{text}\u{201d} is no branch; one looks like 16.9");
        let (major, minor) = text.trim().split_once('.').ok_or_else(wrong)?;
        let number = |t: &str| {
            t.chars().all(|c| c.is_ascii_digit()).then(|| t.parse().ok()).flatten().ok_or_else(wrong)
        };
        Ok(Self { major: number(major)?, minor: number(minor)? })
    }
}

impl Serialize for Branch {
    fn serialize<S: serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Branch {
    fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        String::deserialize(from)?.parse().map_err(serde::de::Error::custom)
    }
}

/// How a card comes to virtual GPUs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Support {
    /// Made for it.
    Native,
    /// By a patched driver and `vgpu_unlock-rs`.
    Unlock,
    /// Not at all.
    None,
}

impl Support {
    /// Its word in the tables.
    pub fn word(self) -> &'static str {
        match self {
            Self::Native => "native",
            Self::Unlock => "unlock",
            Self::None => "none",
        }
    }

    fn of(text: &str) -> Result<Self, String> {
        match text {
            "native" => Ok(Self::Native),
            "unlock" => Ok(Self::Unlock),
            "none" => Ok(Self::None),
            _ => Err(format!("\u{201c}{text}\u{201d} is no kind of support; it is native, unlock or none")),
        }
    }
}

/// A card.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct GpuEntry {
    /// PCI device id.
    pub device_id: String,
    /// Its name.
    pub name: String,
    /// Its chip ("GP104").
    pub chip: String,
    /// How it comes to virtual GPUs.
    pub support: Support,
    /// Major branches that are known to drive it, newest first.
    pub branches: Vec<u32>,
    /// What is claimed without a test.
    pub unconfirmed_support: Option<Support>,
    /// Branches of that claim.
    pub unconfirmed_branches: Vec<u32>,
    /// Where the row is from.
    pub origin: String,
}

/// How NVIDIA hands a driver out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Form {
    /// The `.run` file itself.
    Run,
    /// A zip bundle that holds it.
    Zip,
}

impl Form {
    /// Its word in the tables.
    pub fn word(self) -> &'static str {
        match self {
            Self::Run => "run",
            Self::Zip => "zip",
        }
    }
}

/// A host driver.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct DriverEntry {
    /// Version of the vGPU software.
    pub branch: Branch,
    /// Version of the driver ("535.230.02").
    pub host_driver: String,
    /// Name of its `.run` file.
    pub file_name: String,
    /// How it is handed out.
    pub form: Form,
    /// MD5 of the `.run` file.
    pub md5: Option<String>,
    /// SHA-256 of the `.run` file.
    pub sha256: Option<String>,
    /// The unlock patch for exactly this build.
    pub unlock_patch: Option<String>,
    /// Where the row is from.
    pub origin: String,
}

/// The system of a guest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum System {
    /// Linux.
    Linux,
    /// Windows.
    Windows,
}

impl System {
    /// Its word in the tables.
    pub fn word(self) -> &'static str {
        match self {
            Self::Linux => "linux",
            Self::Windows => "windows",
        }
    }
}

impl std::str::FromStr for System {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "linux" => Ok(Self::Linux),
            "windows" => Ok(Self::Windows),
            _ => Err(format!("\u{201c}{text}\u{201d} is no system of a guest; it is linux or windows")),
        }
    }
}

/// A driver for guests.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct GuestDriverEntry {
    /// Version of the vGPU software.
    pub branch: Branch,
    /// The system that it is for.
    pub system: System,
    /// Version of the driver ("535.230.02", "539.19").
    pub guest_driver: String,
    /// Name of its file.
    pub file_name: String,
    /// MD5 of the file.
    pub md5: Option<String>,
    /// SHA-256 of the file.
    pub sha256: Option<String>,
    /// Where the row is from.
    pub origin: String,
}

/// A file with a wrong row.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{file}, line {line}: {why}; correct the line or remove the file (data/vgpu/README.md tells the columns)"
)]
pub struct RowError {
    /// The file.
    pub file: String,
    /// The line, from 1.
    pub line: u64,
    /// What is wrong.
    pub why: String,
}

/// A row of one of the tables.
pub trait Row: Sized {
    /// Columns that must be there.
    const REQUIRED: &'static [&'static str];
    /// Columns that may be.
    const OPTIONAL: &'static [&'static str];
    /// Makes the row from its fields.
    ///
    /// # Errors
    /// What is wrong with a field.
    fn from_fields(fields: &BTreeMap<&str, &str>, origin: &str) -> Result<Self, String>;
    /// What no two rows of a file may share.
    fn key(&self) -> String;
}

/// Reads a file.
///
/// # Errors
/// The first thing that is wrong, with its line.
pub fn parse<R: Row>(file: &str, text: &str) -> Result<Vec<R>, RowError> {
    let error = |line: u64, why: String| RowError { file: file.to_owned(), line, why };
    let of_csv = |e: &csv::Error| {
        let line = e.position().map_or(1, |p| line_of(text, p));
        let why = match e.kind() {
            csv::ErrorKind::UnequalLengths { expected_len, len, .. } => {
                format!("{len} fields, where the head line has {expected_len}")
            }
            csv::ErrorKind::Utf8 { .. } => "not UTF-8".to_owned(),
            _ => e.to_string(),
        };
        error(line, why)
    };
    let mut reader =
        csv::ReaderBuilder::new().trim(csv::Trim::All).comment(Some(b'#')).from_reader(text.as_bytes());
    let head = reader.headers().map_err(|e| of_csv(&e))?.clone();
    let line = head.position().map_or(1, csv::Position::line);
    for column in &head {
        if !R::REQUIRED.contains(&column) && !R::OPTIONAL.contains(&column) {
            return Err(error(line, format!("there is no column \u{201c}{column}\u{201d}")));
        }
        if head.iter().filter(|c| *c == column).count() > 1 {
            return Err(error(line, format!("the column \u{201c}{column}\u{201d} is there twice")));
        }
    }
    if let Some(missing) = R::REQUIRED.iter().find(|c| !head.iter().any(|h| h == **c)) {
        return Err(error(line, format!("the column \u{201c}{missing}\u{201d} is missing")));
    }
    let mut rows: Vec<R> = Vec::new();
    let mut keys: BTreeMap<String, u64> = BTreeMap::new();
    for record in reader.records() {
        let record = record.map_err(|e| of_csv(&e))?;
        let line = record.position().map_or(0, |p| line_of(text, p));
        let fields: BTreeMap<&str, &str> = head.iter().zip(record.iter()).collect();
        let row = R::from_fields(&fields, file).map_err(|why| error(line, why))?;
        if let Some(first) = keys.insert(row.key(), line) {
            return Err(error(line, format!("{} is in line {first} already", row.key())));
        }
        rows.push(row);
    }
    Ok(rows)
}

/// The line of a record: the reader counts from where it began to look, before empty lines and comments.
fn line_of(text: &str, position: &csv::Position) -> u64 {
    let from = usize::try_from(position.byte()).unwrap_or(usize::MAX);
    let rest = text.get(from..).unwrap_or_default();
    let skipped = rest.lines().take_while(|l| l.is_empty() || l.starts_with('#')).count();
    position.line() + skipped as u64
}

fn text(fields: &BTreeMap<&str, &str>, name: &str) -> Result<String, String> {
    let value = fields.get(name).copied().unwrap_or_default();
    if value.is_empty() {
        return Err(format!("{name} is empty"));
    }
    if value.len() > 200 || value.chars().any(char::is_control) {
        return Err(format!("{name} is too long or holds control characters"));
    }
    Ok(value.to_owned())
}

fn optional<'f>(fields: &BTreeMap<&str, &'f str>, name: &str) -> Option<&'f str> {
    fields.get(name).copied().filter(|v| !v.is_empty())
}

fn majors(fields: &BTreeMap<&str, &str>, name: &str) -> Result<Vec<u32>, String> {
    let words = optional(fields, name).into_iter().flat_map(|v| v.split(';'));
    let numbers = words.map(|w| {
        w.trim().parse().map_err(|_| format!("{name}: \u{201c}{w}\u{201d} is no branch; write 17;16"))
    });
    let mut found: Vec<u32> = numbers.collect::<Result<_, _>>()?;
    found.sort_unstable_by(|a, b| b.cmp(a));
    Ok(found)
}

fn hex(fields: &BTreeMap<&str, &str>, name: &str, digits: usize) -> Result<Option<String>, String> {
    let Some(value) = optional(fields, name) else { return Ok(None) };
    if value.len() != digits || !value.chars().all(|c| c.is_ascii_hexdigit()) {
        return Err(format!("{name} must have {digits} hexadecimal digits"));
    }
    Ok(Some(value.to_ascii_lowercase()))
}

/// A name that is one component of a path and nothing else.
fn plain_name(value: &str, name: &str) -> Result<(), String> {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_' | '+');
    if value.starts_with('.') || !value.chars().all(plain) {
        return Err(format!("{name} \u{201c}{value}\u{201d} is no plain file name"));
    }
    Ok(())
}

/// A version in numbers with points between them.
fn version(fields: &BTreeMap<&str, &str>, name: &str) -> Result<String, String> {
    let value = text(fields, name)?;
    let digits = |part: &str| !part.is_empty() && part.chars().all(|c| c.is_ascii_digit());
    if !value.contains('.') || !value.split('.').all(digits) {
        return Err(format!("{name} \u{201c}{value}\u{201d} is no version; one looks like 535.230.02"));
    }
    Ok(value)
}

impl Row for GpuEntry {
    const REQUIRED: &'static [&'static str] = &["device_id", "name", "chip", "support", "branches"];
    const OPTIONAL: &'static [&'static str] = &["unconfirmed_support", "unconfirmed_branches"];

    fn from_fields(fields: &BTreeMap<&str, &str>, origin: &str) -> Result<Self, String> {
        let device_id = hex(fields, "device_id", 4)?.ok_or("device_id is empty")?;
        Ok(Self {
            device_id,
            name: text(fields, "name")?,
            chip: text(fields, "chip")?,
            support: Support::of(&text(fields, "support")?)?,
            branches: majors(fields, "branches")?,
            unconfirmed_support: optional(fields, "unconfirmed_support").map(Support::of).transpose()?,
            unconfirmed_branches: majors(fields, "unconfirmed_branches")?,
            origin: origin.to_owned(),
        })
    }

    fn key(&self) -> String {
        format!("device_id {}", self.device_id)
    }
}

impl Row for DriverEntry {
    const REQUIRED: &'static [&'static str] = &["branch", "host_driver"];
    const OPTIONAL: &'static [&'static str] = &["file_name", "form", "md5", "sha256", "unlock_patch"];

    fn from_fields(fields: &BTreeMap<&str, &str>, origin: &str) -> Result<Self, String> {
        let host_driver = version(fields, "host_driver")?;
        let file_name = match optional(fields, "file_name") {
            Some(name) => name.to_owned(),
            None => format!("NVIDIA-Linux-x86_64-{host_driver}-vgpu-kvm.run"),
        };
        plain_name(&file_name, "file_name")?;
        let form = match optional(fields, "form") {
            None | Some("run") => Form::Run,
            Some("zip") => Form::Zip,
            Some(other) => return Err(format!("form \u{201c}{other}\u{201d} is neither run nor zip")),
        };
        let unlock_patch = optional(fields, "unlock_patch").map(str::to_owned);
        if let Some(patch) = &unlock_patch {
            plain_name(patch, "unlock_patch")?;
        }
        Ok(Self {
            branch: text(fields, "branch")?.parse()?,
            host_driver,
            file_name,
            form,
            md5: hex(fields, "md5", 32)?,
            sha256: hex(fields, "sha256", 64)?,
            unlock_patch,
            origin: origin.to_owned(),
        })
    }

    fn key(&self) -> String {
        format!("branch {}", self.branch)
    }
}

impl Row for GuestDriverEntry {
    const REQUIRED: &'static [&'static str] = &["branch", "system", "guest_driver", "file_name"];
    const OPTIONAL: &'static [&'static str] = &["md5", "sha256"];

    fn from_fields(fields: &BTreeMap<&str, &str>, origin: &str) -> Result<Self, String> {
        let file_name = text(fields, "file_name")?;
        plain_name(&file_name, "file_name")?;
        Ok(Self {
            branch: text(fields, "branch")?.parse()?,
            system: text(fields, "system")?.parse()?,
            guest_driver: version(fields, "guest_driver")?,
            file_name,
            md5: hex(fields, "md5", 32)?,
            sha256: hex(fields, "sha256", 64)?,
            origin: origin.to_owned(),
        })
    }

    fn key(&self) -> String {
        format!("branch {} for {}", self.branch, self.system.word())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_wrong_row_is_told_with_its_line() {
        let gpus = "device_id,name,chip,support,branches\n";
        for (text, line, word) in [
            ("device_id,name\n", 1, "missing"),
            ("device_id,name,chip,support,branches,colour\n", 1, "colour"),
            ("device_id,name,chip,support,branches,name\n", 1, "twice"),
            (&format!("{gpus}1bb3,P4,GP104,native,16\n1bb4,P5,GP104,maybe,16\n"), 3, "maybe"),
            (&format!("{gpus}1bb,P4,GP104,native,16\n"), 2, "hexadecimal"),
            (&format!("{gpus}1bb3,P4,GP104,native\n"), 2, "4 fields"),
            (&format!("{gpus}\n# mine\n1bb3,P4,GP104,native,x\n"), 4, "17;16"),
            (&format!("{gpus}1bb3,P4,GP104,native,\n1BB3,P4,GP104,native,\n"), 3, "line 2 already"),
        ] {
            let error = parse::<GpuEntry>("gpus-x.csv", text).unwrap_err();
            assert_eq!(error.line, line, "{text}: {error}");
            assert!(error.to_string().contains(word), "{text}: {error}");
        }
        for (text, word) in [
            ("branch,host_driver\n16,535.1\n", "16.9"),
            ("branch,host_driver\n16.9,535\n", "535.230.02"),
            ("branch,host_driver,file_name\n16.9,535.1,../x.run\n", "plain file name"),
            ("branch,host_driver,md5\n16.9,535.1,12\n", "32"),
        ] {
            let error = parse::<DriverEntry>("drivers.csv", text).unwrap_err();
            assert!(error.line == 2 && error.to_string().contains(word), "{text}: {error}");
        }
    }

    #[test]
    fn a_guest_driver_is_one_for_each_branch_and_system() {
        let head = "branch,system,guest_driver,file_name\n";
        for (row, word) in [
            ("16.9,bsd,535.1,x.run\n", "linux or windows"),
            ("16.9,linux,535,x.run\n", "535.230.02"),
            ("16.9,linux,535.1,../x.run\n", "plain file name"),
            ("16.9,linux,535.1,x.run\n16.9,linux,535.2,y.run\n", "line 2 already"),
        ] {
            let error = parse::<GuestDriverEntry>("guest-drivers.csv", &format!("{head}{row}")).unwrap_err();
            assert!(error.to_string().contains(word), "{row}: {error}");
        }
        let both = format!("{head}16.9,linux,535.1,x.run\n16.9,windows,539.19,x.exe\n");
        assert_eq!(parse::<GuestDriverEntry>("guest-drivers.csv", &both).unwrap().len(), 2);
    }

    #[test]
    fn branches_are_ordered_as_numbers() {
        let branch = |t: &str| t.parse::<Branch>().unwrap();
        assert!(branch("16.9") < branch("16.10") && branch("16.14") < branch("17.0"));
        assert!("16".parse::<Branch>().is_err() && "16.+9".parse::<Branch>().is_err());
    }

    proptest! {
        #[test]
        fn no_text_makes_the_parsers_panic(text in "(?s).*", row in "[0-9a-f,;.\"\n]*") {
            let _ = parse::<GpuEntry>("x", &text);
            let _ = parse::<DriverEntry>("x", &format!("branch,host_driver\n{row}"));
            let _ = parse::<GpuEntry>("x", &format!("device_id,name,chip,support,branches\n{row}"));
            let _ = text.parse::<Branch>();
        }
    }
}

// SPDX-License-Identifier: GPL-3.0-or-later
//! An image of a CD with a guest's driver, to be put into a virtual machine's drive.

use crate::fetch::{FetchError, Folder, is_plain_name};
use crate::host::{Command, CommandError, Host};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Why there is no image.
#[derive(Debug, thiserror::Error)]
pub enum IsoError {
    /// The program is not there.
    #[error("xorriso is not there; install the package `xorriso`")]
    Missing,
    /// It failed.
    #[error(transparent)]
    Command(#[from] CommandError),
    /// The folder cannot be used.
    #[error(transparent)]
    Folder(#[from] FetchError),
}

/// Characters that a volume's name may have (ECMA-119, 7.4.1), 32 at most.
fn volume(name: &str) -> String {
    let plain = |c: char| if c.is_ascii_alphanumeric() { c.to_ascii_uppercase() } else { '_' };
    name.chars().map(plain).take(32).collect()
}

/// xorriso as it is called for a medium with a file on it (xorrisofs(1)): Rock Ridge for Linux, Joliet for Windows.
fn command(file: &Path, iso: &Path, called: &str) -> Command {
    Command::new("xorriso")
        .args([
            "-as",
            "mkisofs",
            "-quiet",
            "-r",
            "-J",
            "-joliet-long",
            "-iso-level",
            "3",
            "-volid",
            &volume(called),
        ])
        .args(["-o".to_owned(), iso.display().to_string(), file.display().to_string()])
        .timeout(Duration::from_secs(600))
}

/// Writes `FILE.iso` with a file on it into a folder; one that had this name is kept as `.bak.N`. Returns the image, and
/// the name that was kept.
///
/// # Errors
/// When xorriso is missing or fails, or the folder cannot be used; nothing has the image's name then.
pub fn iso(
    host: &Host,
    file: &Path,
    folder: &Folder,
    called: &str,
) -> Result<(PathBuf, Option<String>), IsoError> {
    let stem = file.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
    let name = format!("{stem}.iso");
    if !is_plain_name(&name) {
        let why = format!("`{name}` is no plain file name; rename the driver's file");
        return Err(FetchError::Folder { path: file.display().to_string(), why }.into());
    }
    let part = folder.part(&name)?;
    // xorriso writes into the file that is there, which nobody else has.
    match host.runner().run_ok(&command(file, &folder.path_of(&format!(".{name}.part")), called)) {
        Ok(_) => {}
        Err(e) => {
            folder.discard(part)?;
            return Err(match e {
                CommandError::Start { source, .. } if source.kind() == std::io::ErrorKind::NotFound => {
                    IsoError::Missing
                }
                other => other.into(),
            });
        }
    }
    let kept = folder.keep(part, &name)?;
    Ok((folder.path_of(&name), kept))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::HostKind;
    use crate::host::fake::{FakeRunner, host};
    use std::sync::Arc;

    fn names(dir: &Path) -> Vec<String> {
        let entries = std::fs::read_dir(dir).unwrap();
        let mut names: Vec<String> = entries.map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    /// With the machine's xorriso, which `scripts/deps.sh` installs.
    #[test]
    fn the_driver_is_on_the_image_byte_for_byte_under_its_long_name() {
        let dir = tempfile::tempdir().unwrap();
        let name = "539.19_grid_win10_win11_server2019_server2022_dch_64bit_international.exe";
        let bytes: Vec<u8> = (0..300_000u32).map(|n| (n % 251) as u8).collect();
        std::fs::write(dir.path().join(name), &bytes).unwrap();
        let host = Host::scratch(dir.path()).unwrap();
        let to = dir.path().join("iso");
        let folder = Folder::open(&to).unwrap();
        let (made, kept) = iso(&host, &dir.path().join(name), &folder, "NVIDIA 16.9").unwrap();
        assert_eq!((kept, names(&to)), (None, vec![format!("{name}.iso")]));
        let out = dir.path().join("out");
        let read = Command::new("xorriso")
            .args(["-osirrox", "on", "-indev", &made.display().to_string(), "-extract", "/"])
            .arg(out.display().to_string());
        host.runner().run_ok(&read).unwrap();
        assert_eq!(std::fs::read(out.join(name)).unwrap(), bytes);
        let image = std::fs::read(&made).unwrap();
        assert_eq!(&image[0x8028..0x8033], b"NVIDIA_16_9", "the volume's name");
        // Joliet, which Windows reads: a supplementary volume descriptor.
        assert!(image[0x8000..0x9800].chunks(0x800).any(|s| s[0] == 2 && s[1..6] == *b"CD001"));

        let (_, kept) = iso(&host, &dir.path().join(name), &folder, "NVIDIA 16.9").unwrap();
        assert_eq!(kept.as_deref(), Some(format!("{name}.iso.bak.1").as_str()));
    }

    #[test]
    fn without_xorriso_nothing_is_left() {
        let dir = tempfile::tempdir().unwrap();
        let host = host(dir.path(), Arc::new(FakeRunner::new()), HostKind::Machine).unwrap();
        let to = dir.path().join("iso");
        let error = iso(&host, Path::new("/x.run"), &Folder::open(&to).unwrap(), "x").unwrap_err();
        assert!(matches!(error, IsoError::Missing), "{error}");
        assert_eq!(names(&to), [""; 0]);
    }
}

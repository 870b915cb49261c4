// SPDX-License-Identifier: GPL-3.0-or-later
//! From what is wanted to an image file: look, list the project, and build just what changed.

use super::LabError;
use super::archiso::Archiso;
use super::debian::Debian;
use super::folders::{self, Folders};
use super::inject::{self, Listing};
use super::job::{Job, need_space};
use super::layer::Layer;
use super::spec::{BuilderSpec, Image};
use super::tools::{self, Tool};
use super::work::LabFolder;
use crate::engine::event::Sink;
use crate::host::{Cancel, Host, Lock, Root};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// One way to make an image. All of it is about one image; nothing is kept between two builds but caches.
pub(super) trait Builder {
    /// The programs it needs.
    fn tools(&self) -> Vec<Tool>;
    /// All that the image is made of beside the layer; an image with the same key and layer is the same.
    fn key(&self, host: &Host, folders: &Folders) -> Result<String, LabError>;
    /// Looks for mistakes in what is wanted that can be found without building it.
    fn validate(&self, job: &mut Job<'_>) -> Result<(), LabError>;
    /// Bytes that the build needs in the lab's folder, for a layer of this many.
    fn space(&self, host: &Host, folders: &Folders, layer: u64) -> Result<u64, LabError>;
    /// Builds the image in the build's folder and says where it is.
    fn build(&self, job: &mut Job<'_>, layer: &Layer) -> Result<PathBuf, LabError>;
}

fn builder_of<'a>(image: &'a Image, options: &Options) -> Box<dyn Builder + 'a> {
    match &image.builder {
        BuilderSpec::Debian(spec) => Box::new(Debian::new(spec, &image.name, options.refresh)),
        BuilderSpec::Archiso(spec) => Box::new(Archiso::new(spec, &image.name)),
    }
}

/// How to go about a build.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Options {
    /// Where the image is put; none: among the lab's images.
    pub output: Option<PathBuf>,
    /// Bootstrap the system anew, also when a kept one fits.
    pub refresh: bool,
}

/// An image that is there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Built {
    /// Where it is.
    pub image: PathBuf,
    /// Its size in bytes.
    pub size: u64,
    /// Whether it was there already, made of just the same.
    pub unchanged: bool,
    /// Files of the project in it.
    pub files: usize,
    /// What of the project is not in it, each with the reason.
    pub left_out: Vec<(PathBuf, String)>,
    /// The log of the build; of the last one when nothing was built.
    pub log: PathBuf,
}

impl Built {
    /// What the image is called, without its ending.
    pub fn name(&self) -> String {
        super::spec::name_of(&self.image.file_stem().unwrap_or_default().to_string_lossy())
    }
}

/// What an image file was made of.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Stamp {
    made_of: String,
    size: u64,
    mtime: i64,
    mtime_nsec: i64,
    inode: u64,
}

impl Stamp {
    fn of(path: &Path, made_of: &str) -> io::Result<Self> {
        let meta = std::fs::metadata(path)?;
        Ok(Self {
            made_of: made_of.to_owned(),
            size: meta.len(),
            mtime: meta.mtime(),
            mtime_nsec: meta.mtime_nsec(),
            inode: meta.ino(),
        })
    }
}

fn sha256(text: &str) -> String {
    hex::encode(Sha256::digest(text))
}

/// Builds an image, unless it is there already and made of just the same.
///
/// # Errors
/// With the first mistake and what to do. An image that was there before is then still there.
pub fn build(
    host: &Host,
    folders: &Folders,
    image: &Image,
    options: &Options,
    cancel: &Cancel,
    sink: &mut dyn Sink,
) -> Result<Built, LabError> {
    image.check()?;
    folders.prepare()?;
    let output = match &options.output {
        Some(path) => place_of(path)?,
        None => folders.images().join(image.file_name()),
    };
    check_output(&output, image)?;
    let builder = builder_of(image, options);
    let mut needed = vec![tools::UNSHARE];
    if image.project.is_some() {
        needed.push(tools::GIT);
    }
    needed.extend(builder.tools());
    tools::need(host, &needed)?;

    let root = Root::open(&folders.cache)?;
    let lock = format!("/locks/{}", sha256(&output.to_string_lossy()));
    let _lock = Lock::take(&root, &lock, &format!("process {}", std::process::id()))?;
    let work = LabFolder::create(host, folders, &image.name)?;
    let mut job = Job::begin(host, folders, &work, &image.name, cancel, sink)?;
    build_in(&mut job, builder.as_ref(), image, options, &output).map_err(|error| match error {
        // What a tool says last is not always why it failed.
        LabError::Command(source) => LabError::Build { source, log: job.log_path().to_owned() },
        error => error,
    })
}

fn build_in(
    job: &mut Job<'_>,
    builder: &dyn Builder,
    image: &Image,
    options: &Options,
    output: &Path,
) -> Result<Built, LabError> {
    let (listing, layer) = list_project(job, image, output)?;
    // Read once, before the build: what changes meanwhile is built the next time.
    let digest = layer.digest()?;
    let made_of = made_of(job, builder, image, &digest)?;
    let stamp = stamp_path(job.folders, output);
    let left_out = listing.left_out.iter().map(|(p, why)| (p.clone(), (*why).to_owned())).collect();
    let built = |size, unchanged, log: &Path| Built {
        image: output.to_owned(),
        size,
        unchanged,
        files: listing.files.len(),
        left_out,
        log: log.to_owned(),
    };
    if !options.refresh
        && let Some(known) = read_stamp(&stamp)
        && Stamp::of(output, &made_of).is_ok_and(|now| now == known)
    {
        return Ok(built(known.size, true, job.log_path()));
    }
    job.step("Look at what is wanted", |job| builder.validate(job).map(|()| ((), false)))?;
    let space = builder.space(job.host, job.folders, listing.bytes)?;
    need_space(&job.folders.cache, space, "the build")?;
    let made = builder.build(job, &layer)?;
    let size = std::fs::metadata(&made).map_err(LabError::io(&made, "was not made"))?.len();
    put(&made, output)?;
    // Once more: a system that was bootstrapped now is part of the key.
    let made_of = self::made_of(job, builder, image, &digest)?;
    write_stamp(&stamp, output, &made_of)?;
    Ok(built(size, false, job.log_path()))
}

fn list_project(job: &mut Job<'_>, image: &Image, output: &Path) -> Result<(Listing, Layer), LabError> {
    let listing = match &image.project {
        None => Listing::default(),
        Some(project) => {
            let empty = job.work.folder("git")?;
            job.step(&format!("List the project in {}", project.folder.display()), |job| {
                let without = [output.to_owned()];
                let listing = inject::list(job.host.runner(), &project.folder, &empty, &without, job.cancel)?;
                for (path, why) in &listing.left_out {
                    job.warn(&format!("{} is not put into the image: {why}", path.display()));
                }
                Ok((listing, false))
            })?
        }
    };
    let layer = inject::layer(image, &listing, crate::guest::init_image())?;
    Ok((listing, layer))
}

fn made_of(job: &Job<'_>, builder: &dyn Builder, image: &Image, layer: &str) -> Result<String, LabError> {
    let spec = serde_json::to_string(image).unwrap_or_default();
    let key = builder.key(job.host, job.folders)?;
    Ok(sha256(&format!("{spec}\n{key}\n{layer}")))
}

fn stamp_path(folders: &Folders, output: &Path) -> PathBuf {
    folders.images().join(".stamps").join(format!("{}.json", sha256(&output.to_string_lossy())))
}

fn read_stamp(path: &Path) -> Option<Stamp> {
    serde_json::from_slice(&std::fs::read(path).ok()?).ok()
}

fn write_stamp(path: &Path, output: &Path, made_of: &str) -> Result<(), LabError> {
    let what = "could not note what the image is made of";
    let stamp = Stamp::of(output, made_of).map_err(LabError::io(output, what))?;
    if let Some(folder) = path.parent() {
        folders::make(folder)?;
    }
    std::fs::write(path, serde_json::to_vec(&stamp).unwrap_or_default()).map_err(LabError::io(path, what))
}

/// An absolute path, without links in its folder, so that an image inside the project is known as such.
fn place_of(path: &Path) -> Result<PathBuf, LabError> {
    let path = std::path::absolute(path).map_err(LabError::io(path, "is no place for an image"))?;
    Ok(match (path.parent().and_then(|p| p.canonicalize().ok()), path.file_name()) {
        (Some(folder), Some(name)) => folder.join(name),
        _ => path,
    })
}

fn check_output(output: &Path, image: &Image) -> Result<(), LabError> {
    let refuse = |reason: String| Err(LabError::refused("output", reason, "give another --output"));
    if output.file_name().is_none() || output.is_dir() {
        return refuse(format!("{} is a folder", output.display()));
    }
    if let Ok(meta) = output.symlink_metadata()
        && !meta.is_file()
    {
        return refuse(format!("{} is there, and no file", output.display()));
    }
    if let BuilderSpec::Archiso(spec) = &image.builder
        && output.starts_with(&spec.profile)
    {
        return refuse(format!("{} is inside the profile", output.display()));
    }
    Ok(())
}

/// Puts the finished image in its place in one step, also on another file system: there it is written
/// without a name first (open(2), `O_TMPFILE`), so that a crash leaves nothing of it.
fn put(made: &Path, output: &Path) -> Result<(), LabError> {
    let what = "could not put the image there";
    let folder = output.parent().unwrap_or_else(|| Path::new("/"));
    if !folder.exists() {
        folders::make(folder)?;
    }
    match std::fs::rename(made, output) {
        Err(e) if e.kind() == io::ErrorKind::CrossesDevices => {}
        other => return other.map_err(LabError::io(output, what)),
    }
    let size = std::fs::metadata(made).map_err(LabError::io(made, "could not look at"))?.len();
    need_space(folder, size, "the image")?;
    let dir = cap_std::fs::Dir::open_ambient_dir(folder, cap_std::ambient_authority())
        .map_err(LabError::io(folder, what))?;
    let mut from = std::fs::File::open(made).map_err(LabError::io(made, "could not read"))?;
    cap_tempfile::TempFile::new(&dir)
        .and_then(|mut to| io::copy(&mut from, to.as_file_mut()).map(|_| to))
        .and_then(|to| {
            to.as_file().sync_all()?;
            to.replace(output.file_name().unwrap_or_default())
        })
        .map_err(LabError::io(output, what))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_image_that_was_touched_is_not_taken_for_the_one_that_was_built() {
        let dir = tempfile::tempdir().unwrap();
        let image = dir.path().join("x.iso");
        std::fs::write(&image, "built").unwrap();
        let stamp = dir.path().join("s/x.json");
        write_stamp(&stamp, &image, "abc").unwrap();
        assert_eq!(read_stamp(&stamp).unwrap(), Stamp::of(&image, "abc").unwrap());
        assert_ne!(read_stamp(&stamp).unwrap(), Stamp::of(&image, "abd").unwrap());
        std::fs::write(&image, "other").unwrap();
        assert_ne!(read_stamp(&stamp).unwrap(), Stamp::of(&image, "abc").unwrap());
    }

    #[test]
    fn an_image_replaces_the_one_before_in_one_step() {
        let dir = tempfile::tempdir().unwrap();
        let at = |p: &str| dir.path().join(p);
        std::fs::write(at("made"), "new").unwrap();
        std::fs::create_dir(at("out")).unwrap();
        std::fs::write(at("out/x.iso"), "old").unwrap();
        put(&at("made"), &at("out/x.iso")).unwrap();
        assert_eq!(std::fs::read(at("out/x.iso")).unwrap(), b"new");
        assert!(!at("made").exists());
        // Another file system, where there is one.
        let shm = tempfile::tempdir_in("/dev/shm");
        if let Ok(shm) = shm {
            std::fs::write(at("made"), "newer").unwrap();
            put(&at("made"), &shm.path().join("y.iso")).unwrap();
            assert_eq!(std::fs::read(shm.path().join("y.iso")).unwrap(), b"newer");
            assert_eq!(std::fs::read_dir(shm.path()).unwrap().count(), 1);
        }
    }
}

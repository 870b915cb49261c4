// SPDX-License-Identifier: GPL-3.0-or-later
//! The options that make [`Choices`], and how they lie over a profile.

use crate::cli::errors::Problem;
use crate::cli::look::Mark;
use crate::cli::profile;
use crate::cli::session::Session;
use crate::cli::work::Request;
use crate::engine::steps::Mode;
use crate::engine::{Inputs, Secret};
use crate::flows::vmware::FLOW;
use crate::flows::vmware::choices::{
    Choices, InitramfsChoice, KernelChoice, LoadChoice, PerKernel, RehearseChoice, SignChoice, SourceChoice,
    UpdateChoice,
};
use crate::pack;
use clap::{Args, ValueEnum};
use std::path::PathBuf;
use std::str::FromStr;

/// One `--kernel`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum KernelArg {
    All,
    Running,
    Newest(u32),
    Release(String),
    Pattern(String),
}

impl FromStr for KernelArg {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "all" => return Ok(Self::All),
            "running" | "current" => return Ok(Self::Running),
            _ => {}
        }
        if let Some(n) = text.strip_prefix("newest:") {
            return match n.parse() {
                Ok(n @ 1..) => Ok(Self::Newest(n)),
                _ => Err(format!("`{n}` is no number of kernels; write for instance newest:2")),
            };
        }
        // The characters of a release: those of a file name of /lib/modules that no tool stumbles over.
        let fits = |c: char| c.is_ascii_alphanumeric() || "._+~-*?".contains(c);
        if text.is_empty() || text.starts_with(['.', '-']) || !text.chars().all(fits) {
            return Err("that is no kernel release; `uname -r` shows what one looks like".into());
        }
        let text = text.to_owned();
        Ok(if text.contains(['*', '?']) { Self::Pattern(text) } else { Self::Release(text) })
    }
}

/// One `--kernel-mode`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct KernelMode {
    kernel: String,
    mode: ModeArg,
}

impl FromStr for KernelMode {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || "write it as KERNEL=MODE, for instance '6.1.*=optimized'".to_owned();
        let (kernel, mode) = text.split_once('=').ok_or_else(wrong)?;
        let mode = ModeArg::from_str(mode, false)
            .map_err(|_| format!("`{}` is no mode; there are vanilla and optimized", mode.escape_debug()))?;
        match kernel.parse::<KernelArg>()? {
            KernelArg::Release(kernel) | KernelArg::Pattern(kernel) => Ok(Self { kernel, mode }),
            _ => Err(wrong()),
        }
    }
}

/// `--mode`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum ModeArg {
    /// The kernel's own flags
    Vanilla,
    /// Tuned for this processor within what is safe in a kernel
    Optimized,
}

/// `--sign`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum SignArg {
    /// With the key that is there; with a new one when the kernel wants signatures
    Auto,
    /// With Hostwright's own key, made when missing
    Own,
    /// With the distribution's key
    Distribution,
    /// Not at all
    Never,
}

/// `--initramfs`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum InitramfsArg {
    /// Made anew only where it holds one of the modules
    Auto,
    /// Never made anew
    Never,
}

/// `--on-kernel-update`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum UpdateArg {
    /// The distribution's hooks build the modules for kernels that are installed later
    Hook,
    /// DKMS does, with its own key; it calls Hostwright to build in the sandbox
    Dkms,
    /// Nothing happens then; hooks and registrations that are there are removed
    Never,
}

/// What a person picks for VMware's modules.
#[derive(Debug, Default, Args)]
#[command(next_help_heading = "What to do")]
pub(crate) struct Options {
    /// For which kernels: a release, a pattern like '6.1.*', `all`, `current` or `newest:N`; can be given several times
    ///
    /// Without it: the kernel that runs, or with --root the newest one there.
    #[arg(short, long = "kernel", value_name = "KERNEL")]
    pub(crate) kernels: Vec<KernelArg>,
    /// With which compiler flags
    #[arg(short, long, value_enum)]
    pub(crate) mode: Option<ModeArg>,
    /// Other compiler flags for some kernels, for instance '6.1.*=optimized'; can be given several times
    #[arg(long = "kernel-mode", value_name = "KERNEL=MODE")]
    pub(crate) kernel_modes: Vec<KernelMode>,
    /// Module sources to use instead of the installed product's: a folder, a checkout or a tar archive
    #[arg(short, long, value_name = "FOLDER|TARBALL")]
    pub(crate) source: Option<PathBuf>,
    /// With which key modules are signed
    #[arg(long, value_enum, value_name = "KEY")]
    pub(crate) sign: Option<SignArg>,
    /// The same as --sign never
    #[arg(long, conflicts_with = "sign")]
    pub(crate) no_sign: bool,
    /// Have the signing key enrolled (MOK) when it is not trusted yet; a person finishes it at the next boot
    #[arg(long)]
    pub(crate) enroll: bool,
    /// Read the one-time password for --enroll from FILE (`-`: standard input) instead of asking
    #[arg(long, value_name = "FILE", requires = "enroll")]
    pub(crate) enroll_password_file: Option<PathBuf>,
    /// Do not load the modules now
    #[arg(long)]
    pub(crate) no_load: bool,
    /// Do not load the modules at every boot
    #[arg(long)]
    pub(crate) no_boot: bool,
    /// What happens with initramfs images
    #[arg(long, value_enum, value_name = "WHEN")]
    pub(crate) initramfs: Option<InitramfsArg>,
    /// Try the modules in a virtual machine first, or refuse
    ///
    /// Without this and --no-rehearse: they are tried where QEMU and the kernel's boot image are there.
    #[arg(long)]
    pub(crate) rehearse: bool,
    /// Do not try the modules in a virtual machine first
    #[arg(long, conflicts_with = "rehearse")]
    pub(crate) no_rehearse: bool,
    /// What happens when the distribution installs another kernel
    ///
    /// Without it: what is set up now stays.
    #[arg(long, value_enum, value_name = "WHAT")]
    pub(crate) on_kernel_update: Option<UpdateArg>,
    /// Begin with the choices of a profile: a name (see `hostwright profile`) or a file; the options above lie over it
    #[arg(short, long, value_name = "NAME|FILE")]
    pub(crate) profile: Option<PathBuf>,
}

impl Options {
    /// The request: the profile's choices (or all defaults) with these options over them, and what comes
    /// with it.
    ///
    /// # Errors
    /// When options contradict each other, or the profile or the sources cannot be read.
    pub(crate) fn request(&self, session: &Session) -> Result<Request, Problem> {
        let base = match &self.profile {
            Some(which) => profile::vmware_choices(which)?,
            None => match in_use(session)? {
                Some((name, choices)) => {
                    if !session.json() {
                        session.voice.say(&format!("With the profile {name}, which is in use.\n"));
                    }
                    choices
                }
                None => Choices::default(),
            },
        };
        self.request_over(base, "The profile wants")
    }

    /// The request with these options over `base`.
    ///
    /// # Errors
    /// As [`Options::request`].
    pub(crate) fn request_over(&self, base: Choices, who: &str) -> Result<Request, Problem> {
        let mut choices = self.over(base)?;
        let mut inputs = Inputs::default();
        if let Some(path) = &self.source {
            let packed = pack::pack(path)?;
            choices.source = SourceChoice::Sealed { sha256: packed.sha256.clone(), name: packed.name };
            inputs.sealed.insert(packed.sha256, packed.bytes);
        } else if let SourceChoice::Sealed { name, .. } = &choices.source {
            return Err(Problem::usage(format!("{who} the sources `{name}`, and those are not kept."))
                .remedy("Give them again with --source FOLDER|TARBALL."));
        }
        if let Some(path) = &self.enroll_password_file {
            inputs.mok_password = Some(read_password(path)?);
        }
        let choices =
            serde_json::to_value(choices).map_err(|e| Problem::internal("write the choices", &e))?;
        Ok(Request { flow: FLOW.to_owned(), choices, inputs })
    }

    /// The choices that a profile would keep.
    ///
    /// # Errors
    /// As [`Options::request`].
    pub(crate) fn choices(&self) -> Result<Choices, Problem> {
        let base = match &self.profile {
            Some(which) => profile::vmware_choices(which)?,
            None => Choices::default(),
        };
        self.over(base)
    }

    /// The options over `base`; pure.
    fn over(&self, mut base: Choices) -> Result<Choices, Problem> {
        if let Some(kernels) = kernels(&self.kernels)? {
            base.kernels = kernels;
        }
        match self.mode {
            Some(ModeArg::Vanilla) => base.mode = Mode::Vanilla,
            Some(ModeArg::Optimized) => base.mode = Mode::Optimized,
            None => {}
        }
        for KernelMode { kernel, mode } in &self.kernel_modes {
            let mode = Some(match mode {
                ModeArg::Vanilla => Mode::Vanilla,
                ModeArg::Optimized => Mode::Optimized,
            });
            match base.per_kernel.iter_mut().find(|p| p.kernel == *kernel) {
                Some(there) => there.mode = mode,
                None => {
                    base.per_kernel.push(PerKernel { kernel: kernel.clone(), mode, ..PerKernel::default() });
                }
            }
        }
        match (self.sign, self.no_sign) {
            (_, true) | (Some(SignArg::Never), _) => base.sign = SignChoice::Never,
            (Some(SignArg::Auto), _) => base.sign = SignChoice::Auto,
            (Some(SignArg::Own), _) => base.sign = SignChoice::Own,
            (Some(SignArg::Distribution), _) => base.sign = SignChoice::Distribution,
            (None, false) => {}
        }
        base.enroll |= self.enroll;
        if base.enroll && base.sign == SignChoice::Never {
            return Err(Problem::usage("--enroll makes no sense when nothing is signed.")
                .remedy("Leave out --enroll, or --no-sign."));
        }
        if self.no_load {
            base.load = LoadChoice::Never;
        }
        if self.no_boot {
            base.boot = false;
        }
        match (self.rehearse, self.no_rehearse) {
            (_, true) => base.rehearse = RehearseChoice::Never,
            (true, _) => base.rehearse = RehearseChoice::Always,
            (false, false) => {}
        }
        match self.initramfs {
            Some(InitramfsArg::Auto) => base.initramfs = InitramfsChoice::Auto,
            Some(InitramfsArg::Never) => base.initramfs = InitramfsChoice::Never,
            None => {}
        }
        match self.on_kernel_update {
            Some(UpdateArg::Hook) => base.updates = UpdateChoice::Hook,
            Some(UpdateArg::Dkms) => base.updates = UpdateChoice::Dkms,
            Some(UpdateArg::Never) => base.updates = UpdateChoice::Never,
            None => {}
        }
        Ok(base)
    }
}

/// The profile that is in use. A configuration folder of somebody else (as with `sudo -u`) holds none of ours.
fn in_use(session: &Session) -> Result<Option<(String, Choices)>, Problem> {
    match profile::in_use() {
        Err(problem) if problem.code == "denied" => {
            if !session.json() {
                let look = session.voice.look;
                session.voice.say(&look.item(
                    0,
                    Mark::Unknown,
                    &format!("{}: {}", problem.title, problem.reason),
                ));
            }
            Ok(None)
        }
        other => other,
    }
}

/// All `--kernel` together; `None` when there is none.
fn kernels(args: &[KernelArg]) -> Result<Option<KernelChoice>, Problem> {
    let mut releases: Vec<String> = Vec::new();
    let mut patterns = false;
    for arg in args {
        match arg {
            KernelArg::Release(release) | KernelArg::Pattern(release) => {
                patterns |= matches!(arg, KernelArg::Pattern(_));
                if !releases.contains(release) {
                    releases.push(release.clone());
                }
            }
            _ if args.len() > 1 => {
                return Err(Problem::usage("`all`, `current` and `newest:N` stand alone.")
                    .remedy("Give just one of them, or the releases one by one: --kernel A --kernel B"));
            }
            KernelArg::All => return Ok(Some(KernelChoice::All)),
            KernelArg::Running => return Ok(Some(KernelChoice::Running)),
            KernelArg::Newest(n) => return Ok(Some(KernelChoice::Newest(*n))),
        }
    }
    let chosen = if patterns { KernelChoice::Matching } else { KernelChoice::Releases };
    Ok((!releases.is_empty()).then(|| chosen(releases)))
}

/// The one-time password of a file or of standard input: its first line.
fn read_password(path: &std::path::Path) -> Result<Secret, Problem> {
    use std::io::Read;
    let mut bytes = Vec::new();
    let read = if path.as_os_str() == "-" {
        std::io::stdin().lock().take(4096).read_to_end(&mut bytes)
    } else {
        std::fs::File::open(path).and_then(|f| f.take(4096).read_to_end(&mut bytes))
    };
    read.map_err(|e| Problem::file("read the password from", path, &e))?;
    let line = bytes.split(|b| *b == b'\n').next().unwrap_or_default();
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    crate::cli::confirm::check_password(line).map_err(Problem::usage)?;
    Ok(Secret::new(line))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kernel_is_a_word_or_a_release_and_nothing_that_leads_elsewhere() {
        assert_eq!("all".parse(), Ok(KernelArg::All));
        assert_eq!("current".parse(), Ok(KernelArg::Running));
        assert_eq!("newest:2".parse(), Ok(KernelArg::Newest(2)));
        assert_eq!("6.1.*".parse(), Ok(KernelArg::Pattern("6.1.*".into())));
        assert_eq!("6.1.0-56-amd64".parse(), Ok(KernelArg::Release("6.1.0-56-amd64".into())));
        for bad in ["", "../etc", "a/b", "-x", "newest:0", "newest:x", "6.1 0", ".."] {
            assert!(bad.parse::<KernelArg>().is_err(), "{bad}");
        }
    }

    #[test]
    fn all_stands_alone_and_releases_are_kept_once() {
        let release = |r: &str| KernelArg::Release(r.into());
        assert!(kernels(&[KernelArg::All, release("6.1")]).is_err());
        assert_eq!(
            kernels(&[release("6.1"), release("6.2"), release("6.1")]).unwrap(),
            Some(KernelChoice::Releases(vec!["6.1".into(), "6.2".into()]))
        );
        assert_eq!(kernels(&[]).unwrap(), None);
    }

    #[test]
    fn options_lie_over_a_profile_and_leave_the_rest() {
        let profile = Choices { mode: Mode::Optimized, boot: false, ..Choices::default() };
        let options = Options { no_load: true, sign: Some(SignArg::Own), ..Options::default() };
        let choices = options.over(profile).unwrap();
        assert_eq!((choices.mode, choices.boot), (Mode::Optimized, false));
        assert_eq!((choices.load, choices.sign), (LoadChoice::Never, SignChoice::Own));
    }

    #[test]
    fn a_kernel_of_its_own_mode_is_named_or_patterned_and_said_once() {
        let options = Options {
            kernel_modes: ["6.1.*=optimized", "6.1.*=vanilla"].map(|t| t.parse().unwrap()).into(),
            ..Options::default()
        };
        let choices = options.over(Choices::default()).unwrap();
        assert_eq!(choices.per_kernel.len(), 1);
        assert_eq!(choices.for_kernel("6.1.0").mode, Mode::Vanilla);
        for bad in ["6.1.*", "=vanilla", "6.1=fast", "all=vanilla", "a/b=vanilla"] {
            assert!(bad.parse::<KernelMode>().is_err(), "{bad}");
        }
    }

    #[test]
    fn enrolling_a_key_that_signs_nothing_is_refused() {
        let options = Options { no_sign: true, enroll: true, ..Options::default() };
        assert!(options.over(Choices::default()).is_err());
    }
}

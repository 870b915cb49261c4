// SPDX-License-Identifier: GPL-3.0-or-later
//! `hostwright vgpu download` and `hostwright vgpu guest-driver`: files of drivers.

use super::look::{catalogue, config_dir, problem_of_folder};
use crate::cli::confirm;
use crate::cli::detect::render_rows;
use crate::cli::errors::{Exit, Problem};
use crate::cli::look::{Mark, bytes, clean};
use crate::cli::session::Session;
use crate::cli::watch::{Standing, Voice};
use crate::fetch::{Folder, Net, Progress, Retry, Source, Verified};
use crate::flows::vgpu::catalogue::{Branch, System};
use crate::flows::vgpu::download::{
    DownloadError, IsoError, Mirror, Obtained, PORTAL, Pins, Question, Request, Wanted, iso, obtain,
};
use crate::host::Root;
use crate::tell::{Row, sentence};
use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};
use std::cell::RefCell;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// Get the host driver's file: from a file, an address or a mirror of your own
///
/// It is fetched in one pass that writes and hashes, gone on with after an interruption, taken out of a zip bundle
/// where it is in one, looked at without being run, verified, and only then named. A file of that name which is not
/// the one is kept as NAME.bak.N.
///
/// Nothing is preset as a source: NVIDIA's licensing portal hands the files out to those entitled
/// (ui.licensing.nvidia.com). A mirror of your own stands in ~/.config/hostwright/vgpu/mirror.toml:
/// template = "https://files.example/{branch}/{file_name}", and user and password, or token, or ca_file.
#[derive(Debug, Args)]
pub(crate) struct Download {
    /// Version of the vGPU software (16.9)
    #[arg(long, value_name = "BRANCH")]
    branch: Branch,
    /// A file (a .run or a zip bundle) or an address; without it the mirror
    #[arg(long, value_name = "FILE|URL")]
    from: Option<String>,
    /// Folder to put it into [default: ~/.local/share/hostwright/vgpu]
    #[arg(long, value_name = "DIR")]
    to: Option<PathBuf>,
    /// Take a file of which nothing is known, and pin its SHA-256
    #[arg(short, long)]
    yes: bool,
}

/// Get a guest's driver: from a file, an address or a mirror of your own; also as an image of a CD for the guest
///
/// It is fetched and verified as `vgpu download` does it. The file for Linux is looked at without being run; of the one
/// for Windows only that it is a program for Windows: its signature is looked at by Windows itself. A guest's driver must
/// be of the host driver's branch.
#[derive(Debug, Args)]
pub(crate) struct GuestDriver {
    /// Version of the vGPU software (16.9)
    #[arg(long, value_name = "BRANCH")]
    branch: Branch,
    /// The guest's system: linux or windows
    #[arg(long, value_name = "SYSTEM")]
    system: System,
    /// A file (or NVIDIA's zip bundle) or an address; without it the mirror
    #[arg(long, value_name = "FILE|URL")]
    from: Option<String>,
    /// Folder to put it into [default: ~/.local/share/hostwright/vgpu]
    #[arg(long, value_name = "DIR")]
    to: Option<PathBuf>,
    /// Also an image of a CD with the file on it, in this folder (/var/lib/vz/template/iso is Proxmox' storage `local`)
    #[arg(long, value_name = "DIR")]
    iso: Option<PathBuf>,
    /// Take a file of which nothing is known, and pin its SHA-256
    #[arg(short, long)]
    yes: bool,
}

/// Runs `vgpu download`.
pub(crate) fn run(session: &mut Session, args: &Download) -> Result<Exit, Problem> {
    let catalogue = catalogue(session)?;
    let Some(driver) = catalogue.driver(args.branch) else {
        return Err(Problem::usage(format!("Branch {} is not in the catalogue.", args.branch))
            .remedy("`hostwright vgpu drivers` lists them."));
    };
    let wanted = driver.into();
    let obtained = get(session, wanted, args.from.as_deref(), args.to.as_deref(), args.yes)?;
    if session.json() {
        session.screen.document(&obtained)?;
    } else {
        let text = render_rows(session.look(), &[("Driver", rows(wanted, &obtained))]);
        session.screen.print(&text);
    }
    Ok(Exit::Done)
}

/// Runs `vgpu guest-driver`.
pub(crate) fn guest(session: &mut Session, args: &GuestDriver) -> Result<Exit, Problem> {
    let catalogue = catalogue(session)?;
    let Some(driver) = catalogue.guest_driver(args.branch, args.system) else {
        let what = format!("Branch {} for {} is not in the catalogue.", args.branch, args.system.word());
        return Err(Problem::usage(what).remedy("`hostwright vgpu drivers --guests` lists them."));
    };
    let wanted = driver.into();
    let obtained = get(session, wanted, args.from.as_deref(), args.to.as_deref(), args.yes)?;
    let mut shown = rows(wanted, &obtained);
    let mut image = None;
    if let Some(dir) = &args.iso {
        let wrong = |e: &IsoError| {
            Problem::new(Exit::Failed, "iso", "The image was not made", sentence(&e.to_string()))
        };
        let folder = Folder::open(dir).map_err(|e| wrong(&e.into()))?;
        let called = format!("NVIDIA {}", driver.guest_driver);
        let (path, kept) = iso(&session.host()?, &obtained.path, &folder, &called).map_err(|e| wrong(&e))?;
        shown.push(Row::new(Mark::Good, "Image", path.display().to_string()));
        if let Some(kept) = kept {
            shown.push(Row::new(
                Mark::Warning,
                "Kept",
                format!("another image had its name; it is {kept} now"),
            ));
        }
        if dir.ends_with("template/iso") {
            let name = path.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
            let attach = format!("qm set VM --ide3 local:iso/{name},media=cdrom");
            shown.push(Row::new(Mark::Neutral, "Attach", attach));
        }
        image = Some(path);
    }
    if session.json() {
        session.screen.document(&serde_json::json!({ "driver": obtained, "image": image }))?;
    } else {
        let text = render_rows(session.look(), &[("Guest driver", shown)]);
        session.screen.print(&text);
    }
    Ok(Exit::Done)
}

/// Fetches and verifies what is wanted.
fn get(
    session: &mut Session,
    driver: Wanted<'_>,
    from: Option<&str>,
    to: Option<&Path>,
    yes: bool,
) -> Result<Obtained, Problem> {
    let mirror = mirror()?;
    let (source, shown_from, net) = source(from, driver, &mirror)?;
    let to = match to {
        Some(to) => to.to_owned(),
        None => default_folder()?,
    };
    let folder = Folder::open(&to).map_err(|e| problem(&e.into()))?;
    let state = base("XDG_STATE_HOME", ".local/state")?.join("hostwright/vgpu");
    std::fs::create_dir_all(&state).map_err(|e| Problem::file("make the folder", &state, &e))?;
    let mut pins = Root::open(&state)
        .map_err(|e| problem_of_folder(&state, &e))
        .and_then(|root| Pins::load(root).map_err(|e| problem(&e.into())))?;
    let request = Request {
        driver,
        source: source.as_ref(),
        from: &shown_from,
        folder: &folder,
        net: &net,
        retry: &Retry::default(),
        now: session.host()?.clock().now().to_string(),
    };
    let (voice, json) = (session.voice.clone(), session.json());
    let cancel = session.watch.cancel.clone();
    session.watch.set(Standing::Planning { elsewhere: false });
    let shown = RefCell::new(Shown::new(&session.voice));
    let mut told = |p: Progress| shown.borrow_mut().progress(p);
    let mut consent = |question: &Question<'_>| {
        // Nothing is drawn over the question.
        shown.borrow_mut().end();
        if yes || !confirm::can_ask(json) {
            return yes;
        }
        voice.say(&format!(
            "Nothing is known of this file.\n  It says: {}\n  SHA-256: {}\n  From:    {}\n",
            clean(question.header.map_or("it is a program for Windows", |h| &h.label)),
            question.digests.sha256,
            clean(question.from)
        ));
        confirm::ask(&voice, "Take it, and pin its SHA-256 from now on?").unwrap_or(false)
    };
    let obtained = obtain(&request, &mut pins, &cancel, &mut told, &mut consent);
    shown.borrow_mut().end();
    session.watch.set(Standing::Idle);
    let obtained = obtained.map_err(|e| problem(&e))?;
    obtained.ok_or_else(|| {
        Problem::new(
            Exit::Refused,
            "no-source",
            "There is nowhere to get it from",
            format!("{} is not in {}, and no source is given.", driver.file_name, to.display()),
        )
        .remedy(format!(
            "Download it from {PORTAL}, and give it with --from FILE; or name a mirror of your own in mirror.toml."
        ))
    })
}

/// Where files are put when nothing else is said.
pub(super) fn default_folder() -> Result<PathBuf, Problem> {
    Ok(base("XDG_DATA_HOME", ".local/share")?.join("hostwright/vgpu"))
}

/// How often a plain line says how far it is.
const PLAIN_EVERY: Duration = Duration::from_secs(10);

/// A bar on a terminal, a line now and then otherwise, nothing with `--json`.
struct Shown {
    bar: Option<ProgressBar>,
    voice: Voice,
    said: Instant,
}

impl Shown {
    fn new(voice: &Voice) -> Self {
        Self { bar: None, voice: voice.clone(), said: Instant::now() }
    }

    fn progress(&mut self, p: Progress) {
        if let Some(bars) = &self.voice.bars {
            let bar = self.bar.get_or_insert_with(|| {
                let style = ProgressStyle::with_template(
                    "{spinner} {wide_msg} {bytes}/{total_bytes} {bytes_per_sec}",
                );
                let bar = ProgressBar::hidden();
                bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
                bars.add(bar)
            });
            bar.set_length(p.total.unwrap_or(p.done));
            bar.set_position(p.done);
            let attempt = if p.attempt > 1 { format!(" (attempt {})", p.attempt) } else { String::new() };
            bar.set_message(format!("Fetching the driver{attempt}"));
        } else if !self.voice.json && self.said.elapsed() >= PLAIN_EVERY {
            self.said = Instant::now();
            let total = p.total.map(|t| format!(" of {}", bytes(t))).unwrap_or_default();
            self.voice.say(&format!("{}{total} fetched\n", bytes(p.done)));
        }
    }

    fn end(&mut self) {
        if let (Some(bar), Some(bars)) = (self.bar.take(), &self.voice.bars) {
            bar.finish_and_clear();
            bars.remove(&bar);
        }
    }
}

fn rows(driver: Wanted<'_>, obtained: &Obtained) -> Vec<Row> {
    let (mark, text) = match (obtained.verified, obtained.consented) {
        (Verified::Sha256, _) => (Mark::Good, "its SHA-256 is the one that is known"),
        (Verified::Md5, _) => {
            (Mark::Good, "its MD5 is the published one: it is undamaged; its SHA-256 is pinned from now on")
        }
        (Verified::Nothing, _) => {
            (Mark::Warning, "nothing was known of it; its SHA-256 is pinned from now on")
        }
    };
    let how = if obtained.was_there {
        "was there already".to_owned()
    } else {
        format!("{} transferred", bytes(obtained.transferred))
    };
    let mut rows = vec![
        Row::new(Mark::Good, "File", obtained.path.display().to_string()),
        Row::new(Mark::Neutral, "Branch", format!("{} ({})", driver.branch, driver.version)),
        Row::new(Mark::Neutral, "Size", format!("{}; {how}", bytes(obtained.digests.size))),
        Row::new(mark, "Verified", text),
        Row::new(Mark::Neutral, "SHA-256", &obtained.digests.sha256),
    ];
    if let Some(header) = &obtained.header {
        rows.push(Row::new(Mark::Neutral, "Says", &header.label));
    }
    if obtained.payload_intact == Some(true) {
        rows.push(Row::new(Mark::Good, "Archive", "agrees with the checksum in its own header"));
    }
    if let Some(kept) = &obtained.kept {
        rows.push(Row::new(Mark::Warning, "Kept", format!("another file had its name; it is {kept} now")));
    }
    rows
}

/// A base directory (XDG Base Directory Specification).
fn base(variable: &str, below_home: &str) -> Result<PathBuf, Problem> {
    let own = std::env::var_os(variable).map(PathBuf::from).filter(|p| p.is_absolute());
    let home =
        std::env::var_os("HOME").map(|h| PathBuf::from(h).join(below_home)).filter(|p| p.is_absolute());
    own.or(home)
        .ok_or_else(|| Problem::usage(format!("Neither HOME nor {variable} says where files belong.")))
}

/// The mirror of the person, when there is one.
fn mirror() -> Result<Mirror, Problem> {
    let Some(dir) = config_dir() else { return Ok(Mirror::default()) };
    let root = match Root::open(&dir) {
        Ok(root) => root,
        Err(e) if e.is_not_found() => return Ok(Mirror::default()),
        Err(e) => return Err(problem_of_folder(&dir, &e)),
    };
    let meta = match root.metadata("/mirror.toml") {
        Ok(meta) => meta,
        Err(e) if e.is_not_found() => return Ok(Mirror::default()),
        Err(e) => return Err(e.into()),
    };
    let bytes = root.read_at_most("/mirror.toml", 64 << 10)?;
    Mirror::parse(&String::from_utf8_lossy(&bytes), meta.mode).map_err(|e| {
        let path = dir.join("mirror.toml");
        Problem::new(
            Exit::Usage,
            "bad-mirror",
            &format!("{} cannot be used", path.display()),
            sentence(&e.to_string()),
        )
    })
}

/// Where from, how that is told, and how the network is used for it. Credentials belong to the mirror alone.
fn source(
    from: Option<&str>,
    driver: Wanted<'_>,
    mirror: &Mirror,
) -> Result<(Option<Source>, String, Net), Problem> {
    match from {
        Some(url) if url.contains("://") => {
            let host = url.split("://").nth(1).unwrap_or("").split(['/', ':']).next().unwrap_or("");
            if host == "mega.nz" || host.ends_with(".mega.nz") {
                return Err(Problem::usage("Files of mega.nz are encrypted in a way of its own.").remedy(
                    "Fetch it with `megatools dl URL` (package megatools) and give it with --from FILE.",
                ));
            }
            let shown = url.split(['?', '#']).next().unwrap_or(url).to_owned();
            Ok((Some(Source::Url(url.to_owned())), shown, Net::default()))
        }
        Some(path) => Ok((Some(Source::File(PathBuf::from(path))), path.to_owned(), Net::default())),
        None => {
            let bad = |e: &dyn std::fmt::Display| {
                Problem::new(
                    Exit::Usage,
                    "bad-mirror",
                    "mirror.toml cannot be used",
                    sentence(&e.to_string()),
                )
            };
            let Some(url) = mirror.url(driver).map_err(|e| bad(&e))? else {
                return Ok((None, String::new(), Net::default()));
            };
            let authorities = match &mirror.ca_file {
                Some(path) => {
                    let read = std::fs::read(path);
                    Some(read.map_err(|e| Problem::file("read", Path::new(path), &e))?)
                }
                None => None,
            };
            let credentials = mirror.credentials().map_err(|e| bad(&e))?;
            let shown = url.split(['?', '#']).next().unwrap_or(&url).to_owned();
            Ok((Some(Source::Url(url)), shown, Net { credentials, authorities, ..Net::default() }))
        }
    }
}

fn problem(error: &DownloadError) -> Problem {
    use crate::fetch::FetchError;
    let text = sentence(&error.to_string());
    match error {
        DownloadError::Fetch(FetchError::Cancelled) => Problem::cancelled(),
        DownloadError::NoConsent => Problem::new(Exit::Refused, "no-consent", "It was not taken", text)
            .remedy("Compare its SHA-256 with NVIDIA's, and add --yes."),
        DownloadError::Pinned { .. } => Problem::new(Exit::Refused, "pinned", "It is another file", text)
            .remedy("When NVIDIA has published it anew, remove its entry from pins.json in ~/.local/state/hostwright/vgpu."),
        DownloadError::Other { .. } | DownloadError::NotWindows { .. } | DownloadError::Run { .. } => {
            Problem::new(Exit::Refused, "not-the-driver", "This is not the driver", text)
        }
        DownloadError::Fetch(FetchError::Checksum { .. } | FetchError::Size { .. }) => {
            Problem::new(Exit::Refused, "checksum", "It is not the file", text)
        }
        DownloadError::Fetch(FetchError::Address { .. } | FetchError::ClearCredentials(_)) => {
            Problem::new(Exit::Usage, "address", "It cannot be fetched from there", text)
        }
        _ => Problem::new(Exit::Failed, "download", "The driver was not fetched", text),
    }
}

//! The arguments of a run: read from the command line and from files of arguments, and saved with the results.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io::{Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use clap::parser::ValueSource;
use clap::{Arg, ArgAction, ArgMatches, Command, Parser};
use lesio::report::{Existing, write_file};
use lesio::study::Shard;
use serde::{Deserialize, Serialize};

use crate::output::{note, warn};

/// Prints completions of a program for the shell that it names, such as `bash`, `zsh` or `fish`.
const COMPLETIONS: &str = "LESIO_COMPLETIONS";
/// How a run treats the files of an earlier one. This does not affect results, and must not be repeated unasked.
const ABOUT_FILES: [&str; 3] = ["overwrite", "resume", "resume_or_fresh"];
/// The name of the file of arguments.
const FILE: &str = "run.toml";

/// The checksum of a large folder.
const NAMES: &str = "names and sizes";
/// The most bytes of a folder whose files are read for its checksum: it is computed before the work begins.
const MOST_READ: u64 = 256 << 20;

/// A file of arguments, `run.toml`.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct RunFile {
    #[serde(default)]
    run: About,
    /// The given arguments by their long names.
    #[serde(default)]
    arguments: BTreeMap<String, toml::Value>,
    /// The defaults of the other arguments.
    #[serde(default)]
    defaults: BTreeMap<String, toml::Value>,
    /// Checksums of the files and folders that the arguments name.
    #[serde(default)]
    inputs: BTreeMap<String, String>,
}

/// The run that wrote a file of arguments.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct About {
    #[serde(default)]
    program: String,
    #[serde(default)]
    version: String,
    /// The folder to which relative paths refer.
    #[serde(default)]
    folder: String,
}

/// This run.
#[derive(Debug)]
struct Invocation {
    file: RunFile,
    path: Option<PathBuf>,
}

static INVOCATION: OnceLock<Invocation> = OnceLock::new();
static RESULTS: OnceLock<PathBuf> = OnceLock::new();

/// States the folder of the results of a program whose `--out` has a default that depends on other arguments.
pub fn results_in(folder: &Path) {
    let _ = RESULTS.set(folder.to_owned());
}

/// Parses the arguments of a program from the command line and from the file that `--config` names. Ends the program
/// for a file that cannot be used (exit code 1), and for invalid arguments, `--help` and `--version`, as
/// [`Parser::parse`] does.
///
/// With the environment variable `LESIO_COMPLETIONS`, prints completions for the shell that it names instead.
#[must_use]
pub fn parse<A: Parser>() -> A {
    let config = Arg::new("config")
        .long("config")
        .value_name("FILE")
        .help("Read arguments from a file, such as the run.toml beside earlier results")
        .long_help(
            "Read arguments from a file, such as the run.toml beside earlier results. Its table [arguments] holds them \
             by their long names. Arguments of the command line replace them",
        );
    // The package has one name, but each of its programs has its own.
    let name = program_name();
    let mut command =
        A::command().arg(config).name(name.clone()).bin_name(name.clone()).version(env!("CARGO_PKG_VERSION"));
    if let Ok(shell) = std::env::var(COMPLETIONS) {
        let exit =
            |text: String| -> ! { command.clone().error(clap::error::ErrorKind::InvalidValue, text).exit() };
        let shell: clap_complete::Shell = match shell.parse() {
            Ok(shell) => shell,
            Err(error) => exit(format!("{COMPLETIONS} is {shell:?}: {error}")),
        };
        let mut text = Vec::new();
        clap_complete::generate(shell, &mut command, name, &mut text);
        // A reader that needs no more, such as `head`, is no error.
        let _ = std::io::stdout().write_all(&text);
        std::process::exit(0);
    }
    let given: Vec<OsString> = std::env::args_os().collect();
    let expanded = match expand(&command, &given) {
        Ok(expanded) => expanded,
        Err(text) => {
            note(&format!("error: {text}"));
            std::process::exit(1);
        }
    };
    let matches = command.clone().get_matches_from(expanded);
    let parsed = A::from_arg_matches(&matches).unwrap_or_else(|error| error.format(&mut command).exit());
    let _ = INVOCATION.set(Invocation { file: run_file(&command, &matches), path: place(&matches) });
    parsed
}

/// Whether the command line, or the file of arguments that it names, gives an argument of this long name.
pub(crate) fn is_given(name: &str) -> bool {
    INVOCATION.get().is_some_and(|invocation| invocation.file.arguments.contains_key(name))
}

/// The name of the running program.
fn program_name() -> String {
    let path = std::env::args_os().next().map(PathBuf::from).unwrap_or_default();
    path.file_stem().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default()
}

/// The path of the file of arguments beside the results, if the program has a folder for them.
fn file_of_results() -> Option<PathBuf> {
    let own = INVOCATION.get().and_then(|invocation| invocation.path.clone());
    own.or_else(|| RESULTS.get().map(|folder| folder.join(FILE)))
}

/// Removes the arguments of an earlier run, whose results are replaced from now on, unless they are those of this run: beside
/// results of a run that is killed, they would be the wrong ones. A file that cannot be removed is an error when it is
/// replaced at the end.
pub(crate) fn forget() {
    let (Some(path), Some(own)) = (file_of_results(), INVOCATION.get()) else { return };
    let earlier = std::fs::read_to_string(&path).ok().and_then(|text| toml::from_str::<RunFile>(&text).ok());
    let is_same = earlier.is_some_and(|earlier| {
        (&earlier.arguments, &earlier.defaults) == (&own.file.arguments, &own.file.defaults)
    });
    if !is_same {
        let _ = std::fs::remove_file(path);
    }
}

/// Writes the arguments beside the results, if the program has a folder for them.
///
/// # Errors
/// If the file cannot be written.
pub(crate) fn save() -> Result<(), Box<dyn std::error::Error>> {
    let (Some(Invocation { file, .. }), Some(path)) = (INVOCATION.get(), file_of_results()) else {
        return Ok(());
    };
    if path.parent().is_some_and(Path::is_dir) {
        let text = format!(
            "# The arguments of a run of lesio. `{} --config FILE --out OTHER` repeats it.\n{}",
            file.run.program,
            toml::to_string(file)?
        );
        write_file(path, text.as_bytes(), Existing::Replace)?;
    }
    Ok(())
}

/// The command line with the arguments of the file that it names.
fn expand(command: &Command, given: &[OsString]) -> Result<Vec<OsString>, String> {
    // Required arguments may be in the file, so nothing is required yet. `--help` is an error here, too.
    let Ok(typed) = command.clone().ignore_errors(true).try_get_matches_from(given) else {
        return Ok(given.to_vec());
    };
    let path = typed.try_get_one::<String>("config").ok().flatten().map(PathBuf::from);
    let (Some(path), Some((program, rest))) = (path, given.split_first()) else { return Ok(given.to_vec()) };
    let shown = path.display();
    let found = std::fs::read_to_string(&path).map_err(|error| format!("could not read {shown}: {error}"))?;
    let file: RunFile = toml::from_str(&found).map_err(|error| format!("{shown}: {error}"))?;
    let (own, other) = (command.get_name(), &file.run.program);
    if !other.is_empty() && other != own {
        return Err(format!("{shown} has the arguments of {other}, not of {own}"));
    }
    for (input, checksum) in &file.inputs {
        // The kind of checksum that the file has.
        let most = if checksum.starts_with(NAMES) { 0 } else { MOST_READ };
        let now = checksum_of(Path::new(input), most);
        if now.as_deref() != Some(checksum.as_str()) {
            let now = now.unwrap_or_else(|| "nothing there".to_owned());
            warn(&format!("{input} is not what it was for {shown}: {now}, not {checksum}"));
        }
    }
    let mut arguments = file.arguments;
    // What was a default then is given now if another value is the default of this version.
    let now = defaults(command);
    arguments.extend(file.defaults.into_iter().filter(|(key, value)| now.get(key) != Some(value)));
    let mut expanded = vec![program.clone()];
    let mut positional = Vec::new();
    for (key, value) in arguments {
        let argument = command.get_arguments().find(|own| key_of(own).is_some_and(|name| name == key));
        let Some(argument) = argument.filter(|own| own.get_id() != "config") else {
            return Err(format!("{shown}: {own} has no argument {key:?}"));
        };
        let is_typed =
            |own: &Arg| typed.value_source(own.get_id().as_str()) == Some(ValueSource::CommandLine);
        let excludes = |one: &Arg, other: &Arg| {
            command.get_arg_conflicts_with(one).iter().any(|own| own.get_id() == other.get_id())
        };
        // `--updates` on the command line replaces `epochs` of the file.
        let mut others = command.get_arguments().filter(|own| is_typed(own));
        if is_typed(argument) || others.any(|own| excludes(own, argument) || excludes(argument, own)) {
            continue;
        }
        let is_flag = matches!(argument.get_action(), ArgAction::SetTrue);
        match (&value, argument.is_positional()) {
            (toml::Value::Boolean(on), false) if is_flag => {
                expanded.extend(on.then(|| OsString::from(format!("--{key}"))));
            }
            (_, true) => positional.extend(words(&value)?.into_iter().map(OsString::from)),
            (_, false) => expanded.push(format!("--{key}={}", words(&value)?.join(",")).into()),
        }
    }
    expanded.extend(rest.iter().cloned());
    expanded.extend(positional);
    Ok(expanded)
}

/// A value as it stands on a command line.
fn words(value: &toml::Value) -> Result<Vec<String>, String> {
    match value {
        toml::Value::String(text) => Ok(vec![text.clone()]),
        toml::Value::Integer(number) => Ok(vec![number.to_string()]),
        toml::Value::Float(number) => Ok(vec![number.to_string()]),
        toml::Value::Boolean(on) => Ok(vec![on.to_string()]),
        toml::Value::Array(values) => {
            values.iter().map(words).collect::<Result<Vec<_>, _>>().map(|all| all.concat())
        }
        other => Err(format!("{other} is not a value of an argument, expected a text, a number or a list")),
    }
}

/// The name of an argument in a file; `None` for `--help` and the like.
fn key_of(argument: &Arg) -> Option<String> {
    match argument.get_action() {
        ArgAction::Help | ArgAction::HelpShort | ArgAction::HelpLong | ArgAction::Version => None,
        _ => Some(argument.get_long().unwrap_or_else(|| argument.get_id().as_str()).to_owned()),
    }
}

/// The defaults of a program's arguments.
fn defaults(command: &Command) -> BTreeMap<String, toml::Value> {
    let of = |argument: &Arg| {
        let values = argument.get_default_values();
        let values: Vec<String> = values.iter().map(|value| value.to_string_lossy().into_owned()).collect();
        let is_flag = matches!(argument.get_action(), ArgAction::SetTrue);
        let key = key_of(argument).filter(|_| !is_flag && !values.is_empty())?;
        Some((key, one_or_many(values)))
    };
    command.get_arguments().filter_map(of).collect()
}

fn one_or_many(mut values: Vec<String>) -> toml::Value {
    match values.len() {
        1 => toml::Value::String(values.remove(0)),
        _ => toml::Value::Array(values.into_iter().map(toml::Value::String).collect()),
    }
}

/// The file of arguments of a run.
fn run_file(command: &Command, matches: &ArgMatches) -> RunFile {
    let folder = std::env::current_dir().map(|path| path.display().to_string()).unwrap_or_default();
    let run = About {
        program: command.get_name().to_owned(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        folder,
    };
    let mut file = RunFile { run, defaults: defaults(command), ..RunFile::default() };
    // Inputs can be large, and a program without results writes no record of them.
    let has_results = command.get_arguments().any(|argument| argument.get_id() == "out");
    for argument in command.get_arguments() {
        let id = argument.get_id().as_str();
        let Some(key) = key_of(argument).filter(|_| id != "config" && !ABOUT_FILES.contains(&id)) else {
            continue;
        };
        if matches.value_source(id) != Some(ValueSource::CommandLine) {
            continue;
        }
        file.defaults.remove(&key);
        let values: Vec<String> = matches
            .get_raw(id)
            .into_iter()
            .flatten()
            .map(|value| value.to_string_lossy().into_owned())
            .collect();
        if has_results && id != "out" {
            for path in values.iter().flat_map(|value| value.split(',')) {
                file.inputs.extend(
                    checksum_of(Path::new(path), MOST_READ).map(|checksum| (path.to_owned(), checksum)),
                );
            }
        }
        let is_flag = matches!(argument.get_action(), ArgAction::SetTrue);
        let value = if is_flag { toml::Value::Boolean(true) } else { one_or_many(values) };
        file.arguments.insert(key, value);
    }
    file
}

/// Where the file of arguments goes: the folder of the results, with a name for each shard.
fn place(matches: &ArgMatches) -> Option<PathBuf> {
    let out = matches.try_get_one::<PathBuf>("out").ok().flatten()?;
    let shard = matches.try_get_one::<Shard>("shard").ok().flatten();
    Some(out.join(match shard {
        Some(shard) => format!("run-{}-of-{}.toml", shard.index(), shard.of()),
        None => FILE.to_owned(),
    }))
}

/// The checksum of a file's content, of the model in a folder, or of the names and contents of the files in a folder: of more
/// than `most` bytes in all, the names and sizes. `None` if there is neither.
fn checksum_of(path: &Path, most: u64) -> Option<String> {
    if path.is_file() {
        let (sum, bytes) = file_checksum(path)?;
        return Some(format!("crc32 {sum:08x}, {bytes} bytes"));
    }
    if path.as_os_str().is_empty() || !path.is_dir() {
        return None;
    }
    if let Some((sum, bytes)) = file_checksum(&path.join("model.safetensors")) {
        return Some(format!("model crc32 {sum:08x}, {bytes} bytes"));
    }
    let mut files = Vec::new();
    list(path, &mut files);
    let is_read = most > 0 && files.iter().map(|(_, bytes)| bytes).sum::<u64>() <= most;
    let mut listing = String::new();
    for (file, bytes) in &files {
        let name = file.strip_prefix(path).unwrap_or(file).display();
        // Opening a pipe would wait for a writer.
        let content = (is_read && file.is_file()).then(|| file_checksum(file)).flatten();
        let content = content.map(|(sum, _)| format!(" {sum:08x}"));
        listing += &format!("{name} {bytes}{}\n", content.unwrap_or_default());
    }
    let (sum, count) = (crc32fast::hash(listing.as_bytes()), files.len());
    let what = if is_read { "contents" } else { NAMES };
    Some(format!("{what} crc32 {sum:08x}, {count} files"))
}

/// The files in a folder and in those below, with their sizes, in the order of their names.
fn list(folder: &Path, files: &mut Vec<(PathBuf, u64)>) {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.path()).collect();
    paths.sort();
    for path in paths {
        if path.is_dir() && !path.is_symlink() {
            list(&path, files);
        } else if let Ok(found) = path.metadata() {
            files.push((path, found.len()));
        }
    }
}

fn file_checksum(path: &Path) -> Option<(u32, u64)> {
    let mut file = std::fs::File::open(path).ok()?;
    let (mut hasher, mut bytes) = (crc32fast::Hasher::new(), 0);
    let mut buffer = vec![0; 1 << 20];
    loop {
        match file.read(&mut buffer).ok()? {
            0 => return Some((hasher.finalize(), bytes)),
            read => {
                hasher.update(&buffer[..read]);
                bytes += read as u64;
            }
        }
    }
}

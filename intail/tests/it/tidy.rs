//! House rules as tests: who may use whom, how files begin, which words and shortcuts stay out.
//!
//! They read the source text, not the compiler's mind: simple, fast, and clear in what they say. When a rule is wrong,
//! change the table here in the same commit and say why; don't write around it.

use std::collections::BTreeSet;
use std::path::PathBuf;

use crate::harness::root;

/// Which modules of `intail` a module may use besides itself. The arrows of ARCHITECTURE.md: `cli` may use everything,
/// `web` no Google, `store` nothing above it, and `connect` and `sync` don't know each other.
const MAY_USE: &[(&str, &[&str])] = &[
    ("clock", &[]),
    ("random", &[]),
    ("config", &[]),
    ("id", &["random"]),
    ("store", &["clock", "id", "random"]),
    // The key is proven against a row: without it Intail refuses to start. The store itself never seals.
    ("seal", &["clock", "id", "random", "store"]),
    // Receipts are signed with a key that is kept sealed.
    ("signing", &["random", "seal", "store"]),
    // An organization's key for hidden subjects is sealed, as tokens are.
    ("org", &["clock", "id", "random", "seal", "store"]),
    // Reading: rows in, occurrences out.
    ("agenda", &["id", "store"]),
    ("feed", &["app", "clock", "id", "store"]),
    ("access", &["app", "clock", "config", "id", "org", "random", "seal", "store"]),
    ("connect", &["access", "app", "clock", "config", "id", "org", "random", "seal", "signing", "store"]),
    ("signin", &["access", "app", "clock", "config", "id", "org", "random", "seal", "store"]),
    // A channel's token is compared by its hash.
    ("notices", &["app", "clock", "config", "id", "org", "random", "seal", "store"]),
    ("sync", &["access", "app", "clock", "config", "feed", "id", "org", "random", "seal", "store"]),
    // The parts in one place; they know each other only through it.
    ("app", &["access", "clock", "config", "feed", "id", "org", "random", "seal", "store", "sync"]),
    (
        "web",
        &[
            "agenda", "app", "clock", "config", "connect", "feed", "id", "notices", "org", "random", "seal", "signin",
            "signing", "store", "sync",
        ],
    ),
];

/// The modules that may speak to Google, or about Google's answers.
const MAY_USE_GOOGLE: &[&str] = &["access", "app", "cli", "config", "connect", "notices", "org", "signin", "sync"];

/// The only files of the product that may use the false Google.
const MAY_USE_SANDBOX: &[&str] = &["intail/src/cli/demo.rs", "intail/src/cli/simulate.rs"];

/// Names that say nothing about what is inside.
const EMPTY_NAMES: &[&str] =
    &["utils", "util", "helpers", "helper", "common", "core", "models", "services", "managers", "misc", "shared"];

/// The longest line, in characters.
const COLUMNS_MAX: usize = 120;

/// How many times the store may decide by database: five for a pool (migrate, read, write, scrub, close) and five for
/// a transaction (execute, fetch, commit, many ids in one place, and taking rows in an order, which SQLite has no words
/// for and no need of). Everything else is one text for both.
const DIALECT_MATCHES_MAX: usize = 10;

/// The only files in which the store may decide by database.
const DIALECT_FILES: &[&str] = &["intail/src/store/dialect.rs", "intail/src/store/sql.rs"];

/// A source file.
struct Source {
    /// From the repository's root, with slashes.
    path: String,
    text: String,
}

impl Source {
    /// Its lines with their numbers, without comments.
    fn code(&self) -> impl Iterator<Item = (usize, &str)> {
        let lines = self.text.lines().enumerate().map(|(index, line)| (index + 1, line));
        lines.filter(|(_, line)| !line.trim_start().starts_with("//"))
    }

    /// The module of `intail` that it belongs to; `None` outside of it and for `lib.rs` and `main.rs`.
    fn module(&self) -> Option<&str> {
        let first = self.path.strip_prefix("intail/src/")?.split('/').next()?;
        let name = first.strip_suffix(".rs").unwrap_or(first);
        (!["lib", "main"].contains(&name)).then_some(name)
    }
}

/// Every file of the repository whose name ends with one of `endings`, in order.
fn files(endings: &[&str]) -> Vec<Source> {
    let mut found = Vec::new();
    let mut folders = vec![root().to_path_buf()];
    while let Some(folder) = folders.pop() {
        for entry in folder.read_dir().expect("the repository can be read").flatten() {
            let path = entry.path();
            let name = entry.file_name().to_string_lossy().into_owned();
            if path.is_dir() {
                let foreign =
                    name.starts_with('.') || ["target", "intail-data", "node_modules"].contains(&name.as_str());
                if !foreign {
                    folders.push(path);
                }
            } else if endings.iter().any(|ending| name.ends_with(ending)) {
                found.push(read(&path));
            }
        }
    }
    found.sort_by(|left, right| left.path.cmp(&right.path));
    assert!(!found.is_empty(), "no file was found: the repository's root is wrong");
    found
}

fn read(path: &PathBuf) -> Source {
    let text = std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let path = path.strip_prefix(root()).unwrap_or(path).to_string_lossy().replace('\\', "/");
    Source { path, text }
}

fn rust_files() -> Vec<Source> {
    files(&[".rs"])
}

/// Fails with every broken rule on a line of its own.
fn assert_none(rule: &str, broken: Vec<String>) {
    assert!(broken.is_empty(), "{rule}:\n{}", broken.join("\n"));
}

/// Whether `line` contains `word` as a word of its own.
fn mentions(line: &str, word: &str) -> bool {
    let part = |letter: char| letter.is_alphanumeric() || letter == '_';
    line.match_indices(word).any(|(start, _)| {
        let (before, after) = (&line[..start], &line[start + word.len()..]);
        !before.ends_with(part) && !after.starts_with(part)
    })
}

/// The modules that a file reaches through `crate::a` or `crate::{a, b::c}`.
fn used_modules(source: &Source) -> BTreeSet<String> {
    let code: String = source.code().map(|(_, line)| format!("{line}\n")).collect();
    let mut used = BTreeSet::new();
    for (start, path) in code.match_indices("crate::") {
        let rest = &code[start + path.len()..];
        match rest.strip_prefix('{') {
            Some(list) => used.extend(names_at_the_top(list)),
            None => used.extend(first_name(rest)),
        }
    }
    used
}

/// The leading names of a use list, up to its closing brace, without those in inner braces.
fn names_at_the_top(list: &str) -> Vec<String> {
    let (mut depth, mut item, mut names) = (0_usize, String::new(), Vec::new());
    for letter in list.chars() {
        match letter {
            '}' if depth == 0 => break,
            ',' if depth == 0 => names.extend(first_name(&std::mem::take(&mut item))),
            '{' => depth += 1,
            '}' => depth -= 1,
            _ if depth == 0 => item.push(letter),
            _ => {}
        }
    }
    names.extend(first_name(&item));
    names
}

fn first_name(text: &str) -> Option<String> {
    let name: String = text.trim().chars().take_while(|letter| letter.is_alphanumeric() || *letter == '_').collect();
    // Types and functions at the crate's root begin with a capital or don't exist; modules are small.
    (!name.is_empty() && name.starts_with(char::is_lowercase)).then_some(name)
}

#[test]
fn the_arrows_point_one_way() {
    let mut broken = Vec::new();
    for source in rust_files() {
        let Some(module) = source.module().filter(|module| *module != "cli") else {
            continue;
        };
        let Some((_, allowed)) = MAY_USE.iter().find(|(name, _)| *name == module) else {
            broken.push(format!("{}: the module {module} has no row in MAY_USE", source.path));
            continue;
        };
        for used in used_modules(&source) {
            if used != module && !allowed.contains(&used.as_str()) {
                broken.push(format!("{}: {module} must not use {used}", source.path));
            }
        }
    }
    assert_none("who may use whom", broken);
}

#[test]
fn use_lists_are_understood() {
    let source = |text: &str| used_modules(&Source { path: String::new(), text: text.to_owned() });
    let set = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<BTreeSet<_>>();
    assert_eq!(source("use crate::store::{a, b};"), set(&["store"]));
    assert_eq!(
        source("use crate::{\n    notices::{self, pull},\n    sync, web::Page,\n};"),
        set(&["notices", "sync", "web"])
    );
    assert_eq!(source("    let x = crate::id::new();"), set(&["id"]));
    assert_eq!(source("// crate::web\n/// [`crate::sync`]\npub(crate) fn x() {}"), set(&[]));
    assert!(mentions("use sqlx::Row;", "sqlx") && !mentions("sqlx_like()", "sqlx"));
}

#[test]
fn crates_are_used_where_they_belong() {
    let mut broken = Vec::new();
    for source in rust_files() {
        let Some(module) = source.module() else { continue };
        for (number, line) in source.code() {
            let place = format!("{}:{number}", source.path);
            if mentions(line, "sqlx") && module != "store" {
                broken.push(format!("{place}: only store/ knows SQL"));
            }
            if mentions(line, "intail_google") && !MAY_USE_GOOGLE.contains(&module) {
                broken.push(format!("{place}: {module} must not use intail_google"));
            }
            if mentions(line, "intail_sandbox") && !MAY_USE_SANDBOX.contains(&source.path.as_str()) {
                broken.push(format!("{place}: only the demo, the simulation and tests use the sandbox"));
            }
        }
    }
    assert_none("crates in their places", broken);
}

#[test]
fn google_and_sandbox_use_nothing_of_ours() {
    let mut broken = Vec::new();
    for name in ["google/Cargo.toml", "sandbox/Cargo.toml"] {
        let manifest = read(&root().join(name));
        broken.extend(
            manifest
                .code()
                .filter(|(_, line)| line.starts_with("intail"))
                .map(|(n, line)| format!("{name}:{n}: {line}")),
        );
    }
    assert_none("a misreading of Google must not hide in both", broken);
}

#[test]
fn every_file_says_what_it_is_for() {
    let silent = rust_files().into_iter().filter(|source| !source.text.starts_with("//! "));
    assert_none("a file begins with `//! ` and a sentence", silent.map(|source| source.path).collect());
}

#[test]
fn lines_fit() {
    let mut broken = Vec::new();
    for source in rust_files() {
        let long = |line: &str| line.chars().count() > COLUMNS_MAX;
        let lines = source.text.lines().enumerate().filter(|(_, line)| long(line));
        broken.extend(lines.map(|(index, _)| format!("{}:{}", source.path, index + 1)));
    }
    assert_none("lines have at most 120 characters", broken);
}

#[test]
fn no_module_has_an_empty_name() {
    let empty = |source: &Source| {
        let path = source.path.strip_suffix(".rs").unwrap_or(&source.path);
        path.split('/').any(|part| EMPTY_NAMES.contains(&part))
    };
    assert_none(
        "a name says what is inside",
        rust_files().into_iter().filter(empty).map(|source| source.path).collect(),
    );
}

#[test]
fn nothing_is_left_for_later() {
    // Put together from parts, so that this file doesn't find itself.
    let words = [concat!("TO", "DO"), concat!("FIX", "ME"), concat!("to", "do!("), concat!("#[ig", "nore")];
    let mut broken = Vec::new();
    for source in rust_files() {
        for (index, line) in source.text.lines().enumerate() {
            let found = words.iter().filter(|word| line.contains(**word));
            broken.extend(found.map(|word| format!("{}:{}: {word}", source.path, index + 1)));
        }
    }
    assert_none("what is committed is done", broken);
}

#[test]
fn tests_wait_for_events_not_for_time() {
    let word = concat!("sle", "ep(");
    let mut broken = Vec::new();
    for source in rust_files().into_iter().filter(|source| source.path.contains("/tests/")) {
        let lines = source.code().filter(|(_, line)| line.contains(word));
        broken.extend(lines.map(|(number, _)| format!("{}:{number}", source.path)));
    }
    assert_none("a test that waits by time is slow or wrong", broken);
}

#[test]
fn the_store_rarely_asks_which_database() {
    let mut matches = Vec::new();
    for source in rust_files().into_iter().filter(|source| source.module() == Some("store")) {
        let arms = source.code().filter(|(_, line)| line.trim_start().split("=>").next().is_some_and(is_sqlite_arm));
        matches.extend(arms.filter(|(_, line)| line.contains("=>")).map(|(number, _)| (source.path.clone(), number)));
    }
    let places = matches.iter().map(|(path, number)| format!("{path}:{number}")).collect::<Vec<_>>();
    assert!(places.len() <= DIALECT_MATCHES_MAX, "the budget is {DIALECT_MATCHES_MAX}:\n{}", places.join("\n"));
    let strangers = matches.iter().filter(|(path, _)| !DIALECT_FILES.contains(&path.as_str()));
    assert_none("only the two plumbing files decide by database", strangers.map(|(path, _)| path.clone()).collect());
}

fn is_sqlite_arm(pattern: &str) -> bool {
    ["Self::Sqlite", "Db::Sqlite", "On::Sqlite"].iter().any(|name| pattern.contains(name))
}

#[test]
fn every_store_function_is_in_the_contract_suite() {
    let suite = rust_files().into_iter().filter(|source| {
        source.path == "intail/tests/it/store.rs" || source.path.starts_with("intail/tests/it/store/")
    });
    let suite: String = suite.map(|source| source.text).collect();
    let mut missing = Vec::new();
    // The plumbing is run by everything else.
    let plumbing = |source: &Source| DIALECT_FILES.contains(&source.path.as_str());
    let nouns = rust_files().into_iter().filter(|source| source.module() == Some("store") && !plumbing(source));
    for source in nouns {
        for (number, line) in source.code() {
            let Some((_, rest)) = line.split_once("pub async fn ") else {
                continue;
            };
            let name = rest.split(['(', '<']).next().unwrap_or_default();
            if !mentions(&suite, name) {
                missing.push(format!("{}:{number}: {name}", source.path));
            }
        }
    }
    assert_none("the contract suite in tests/it/store.rs runs every store function on both databases", missing);
}

#[test]
fn no_file_knows_a_machine() {
    let paths = [concat!("/wo", "rk/"), concat!("/ro", "ot/"), concat!("/ho", "me/")];
    let endings = [".rs", ".toml", ".md", ".html", ".css", ".js", ".sql", ".sh", ".json", ".yml"];
    let mut broken = Vec::new();
    for source in files(&endings) {
        for (index, line) in source.text.lines().enumerate() {
            let found = paths.iter().filter(|path| is_machine_path(line, path));
            broken.extend(found.map(|path| format!("{}:{}: {path}", source.path, index + 1)));
        }
    }
    assert_none("the repository works anywhere", broken);
}

/// Whether the path begins there, not in the middle of an address.
fn is_machine_path(line: &str, path: &str) -> bool {
    line.match_indices(path)
        .any(|(start, _)| !line[..start].ends_with(|letter: char| letter.is_alphanumeric() || letter == '.'))
}

#[test]
fn continuous_integration_runs_what_developers_run() {
    let script = std::fs::read_to_string(root().join(".ci/run")).expect(".ci/run exists");
    assert!(script.contains("set -euo pipefail") && script.contains("cargo xtask test"), "{script}");
    assert!(root().join(".config/nextest.toml").is_file());
}

#[test]
fn every_mutation_still_fits_the_code() {
    let page = std::fs::read_to_string(root().join("docs/mutations.md")).expect("the list of mutations");
    let mut broken = Vec::new();
    for mutation in page.split("\n## ").skip(1) {
        let pieces: Vec<&str> = mutation.split("```").collect();
        for [words, before, _, _] in pieces.as_chunks::<4>().0 {
            let file = words.rsplit('`').nth(1).expect("the file's name before each pair of blocks");
            let code = std::fs::read_to_string(root().join(file)).expect("the file that a mutation names");
            if code.matches(before.trim_start_matches("rust\n")).count() != 1 {
                broken.push(format!("{}: {file}", mutation.lines().next().unwrap_or_default()));
            }
        }
    }
    assert_none("`cargo xtask mutate` finds what it replaces, exactly once", broken);
}

#[test]
fn no_test_file_is_left_out() {
    let folder = root().join("intail/tests/it");
    let main = std::fs::read_to_string(folder.join("main.rs")).expect("main.rs exists");
    let harness = std::fs::read_to_string(folder.join("harness/mod.rs")).expect("harness/mod.rs exists");
    let mut forgotten = Vec::new();
    for source in rust_files() {
        let Some(rest) = source.path.strip_prefix("intail/tests/it/") else {
            continue;
        };
        let (declaring, name) = match rest.split_once('/') {
            Some(("harness", name)) => (&harness, name),
            Some((name, _)) => (&main, name),
            None => (&main, rest),
        };
        let name = name.trim_end_matches(".rs");
        if !["main", "mod"].contains(&name) && !declaring.contains(&format!("mod {name};")) {
            forgotten.push(source.path);
        }
    }
    assert_none("a file without its `mod` line is never compiled", forgotten);
}

/// Two answers under one name would be one in the API's description: whichever came last.
#[test]
fn no_two_answers_of_the_api_share_a_name() {
    let (mut names, mut shared) = (BTreeSet::new(), Vec::new());
    for source in rust_files().iter().filter(|it| it.path.starts_with("intail/src/web/")) {
        for (number, line) in source.code() {
            let name = line.trim().strip_prefix("#[schema(as = ").and_then(|rest| rest.strip_suffix(")]"));
            shared.extend(
                name.filter(|name| !names.insert((*name).to_owned()))
                    .map(|it| format!("{}:{number}: {it} is another answer's name", source.path)),
            );
        }
    }
    assert!(names.len() > 20, "the names are written in another way now: {names:?}");
    assert_eq!(shared, Vec::<String>::new());
}

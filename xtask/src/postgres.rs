//! A throwaway PostgreSQL cluster: made for one run, gone afterwards however the run ends.
//!
//! A shell watches over the server and holds the reading end of a pipe. When this program ends (normally, by Ctrl-C or
//! killed), the pipe closes, and the shell stops the server and deletes its folder. No signal handler is needed.

use std::net::TcpListener;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, bail};

use crate::finish;
use crate::requirements::is_root;

/// A running cluster. Dropping it stops the server and waits until its folder is gone.
pub(crate) struct Cluster {
    port: u16,
    watcher: Child,
}

/// How often readiness is asked before the start counts as failed, and how long between: 30 s in all.
const READY_TRIES_MAX: u32 = 300;
const READY_PAUSE: Duration = Duration::from_millis(100);

/// Settings for data that nobody misses after a crash.
const SETTINGS: [&str; 7] = [
    "listen_addresses=127.0.0.1",
    "fsync=off",
    "synchronous_commit=off",
    "full_page_writes=off",
    "max_connections=300",
    "shared_buffers=64MB",
    "log_min_messages=fatal",
];

/// `$1` is the cluster's folder; the rest starts the server.
const WATCH: &str = r#"folder=$1; shift
"$@" & server=$!
cat > /dev/null
kill -INT "$server" 2> /dev/null; wait "$server"
rm -rf "$folder""#;

impl Cluster {
    /// Makes and starts a cluster with the programs in `programs`, as the user `postgres` if we are root.
    pub(crate) fn start(programs: &Path) -> anyhow::Result<Self> {
        let root = is_root()?;
        let folder = std::env::temp_dir().join(format!("intail-test-postgres-{}", std::process::id()));
        std::fs::create_dir(&folder).with_context(|| format!("the folder {} could not be made", folder.display()))?;
        let watcher = Self::make(programs, &folder, root);
        if watcher.is_err() {
            let _ = std::fs::remove_dir_all(&folder);
        }
        let (port, watcher) = watcher?;
        let mut cluster = Self { port, watcher };
        cluster.wait_until_ready(programs)?;
        Ok(cluster)
    }

    fn make(programs: &Path, folder: &Path, root: bool) -> anyhow::Result<(u16, Child)> {
        let data = folder.join("data");
        if root {
            finish(Command::new("chown").arg("postgres").arg(folder))?;
        }
        let mut initdb = unprivileged(&programs.join("initdb"), root);
        initdb.arg("--pgdata").arg(&data).args(["--username=postgres", "--auth=trust", "--no-sync", "--encoding=UTF8"]);
        finish(initdb.args(["--locale=C"]).current_dir(folder).stdout(Stdio::null()))?;
        let port = free_port()?;
        let server = server(programs, &data, folder, port, root);
        let mut watcher = Command::new("sh");
        watcher.args(["-c", WATCH, "sh"]).arg(folder).arg(server.get_program()).args(server.get_args());
        // A process group of its own: Ctrl-C must reach it only through the pipe.
        let watcher = watcher.current_dir("/").stdin(Stdio::piped()).process_group(0).spawn();
        Ok((port, watcher.context("sh could not be started")?))
    }

    fn wait_until_ready(&mut self, programs: &Path) -> anyhow::Result<()> {
        let port = self.port.to_string();
        for _ in 0..READY_TRIES_MAX {
            let mut ask = Command::new(programs.join("pg_isready"));
            ask.args(["--quiet", "--host=127.0.0.1", "--username=postgres", "--port", &port]);
            if ask.status().context("pg_isready could not be started")?.success() {
                return Ok(());
            }
            std::thread::sleep(READY_PAUSE);
        }
        bail!("PostgreSQL did not start within 30 s; its own messages are above")
    }

    /// Its address, for a user who may create databases.
    pub(crate) fn url(&self) -> String {
        format!("postgres://postgres@127.0.0.1:{}/postgres", self.port)
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        drop(self.watcher.stdin.take());
        if let Err(error) = self.watcher.wait() {
            eprintln!("PostgreSQL may still run: {error}");
        }
    }
}

fn server(programs: &Path, data: &Path, folder: &Path, port: u16, root: bool) -> Command {
    let mut server = unprivileged(&programs.join("postgres"), root);
    server.arg("-D").arg(data).arg("-k").arg(folder).arg("-p").arg(port.to_string());
    for setting in SETTINGS {
        server.args(["-c", setting]);
    }
    server
}

/// The program itself, or under root the program as Debian's user `postgres`.
fn unprivileged(program: &Path, root: bool) -> Command {
    if !root {
        return Command::new(program);
    }
    let mut command = Command::new("setpriv");
    command.args(["--reuid=postgres", "--regid=postgres", "--clear-groups", "--"]).arg(program);
    command
}

fn free_port() -> anyhow::Result<u16> {
    let listener = TcpListener::bind(("127.0.0.1", 0)).context("no free port on 127.0.0.1")?;
    Ok(listener.local_addr()?.port())
}

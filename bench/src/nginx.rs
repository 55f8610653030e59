//! nginx with TLS 1.3 as a target, pinned to a core.

use std::fs;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::Outcome;
use crate::process::spawn_on;

/// How long it may take to listen.
const START_MAX: Duration = Duration::from_secs(10);

/// A running nginx, ended on drop.
pub(crate) struct Nginx {
    child: Child,
    pub(crate) address: SocketAddr,
    _folder: TempDir,
}

impl Nginx {
    pub(crate) fn start(core: usize) -> Outcome<Self> {
        let folder = tempfile::tempdir()?;
        let key = rcgen::generate_simple_self_signed(["localhost".to_owned()])?;
        fs::write(folder.path().join("cert.pem"), key.cert.pem())?;
        fs::write(
            folder.path().join("key.pem"),
            key.signing_key.serialize_pem(),
        )?;
        // Free at this moment; nothing else here takes ports.
        let address = TcpListener::bind("127.0.0.1:0")?.local_addr()?;
        let config = folder.path().join("nginx.conf");
        fs::write(&config, text(folder.path(), address))?;
        let program = ["/usr/sbin/nginx", "nginx"]
            .into_iter()
            .find(|path| Path::new(path).is_file())
            .unwrap_or("nginx");
        let mut command = Command::new(program);
        command.arg("-c").arg(&config);
        command.stdin(Stdio::null()).stderr(Stdio::null());
        let child = spawn_on(&mut command, &[core])
            .map_err(|error| format!("{error} (Debian: `apt-get install nginx-light`)"))?;
        let mut nginx = Self {
            child,
            address,
            _folder: folder,
        };
        let began = Instant::now();
        while TcpStream::connect(address).is_err() {
            if nginx.child.try_wait()?.is_some() || began.elapsed() > START_MAX {
                return Err("nginx did not start".into());
            }
            thread::sleep(Duration::from_millis(10));
        }
        Ok(nginx)
    }
}

impl Drop for Nginx {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// One process, in the foreground, with the answer of the canned target.
fn text(folder: &Path, address: SocketAddr) -> String {
    let folder = folder.display();
    format!(
        "daemon off; master_process off; pid {folder}/pid; error_log /dev/null;
events {{ worker_connections 16384; }}
http {{
  access_log off;
  client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy; fastcgi_temp_path {folder}/fastcgi;
  uwsgi_temp_path {folder}/uwsgi; scgi_temp_path {folder}/scgi;
  keepalive_requests 1000000000;
  server {{
    listen {address} ssl;
    ssl_certificate {folder}/cert.pem; ssl_certificate_key {folder}/key.pem;
    ssl_protocols TLSv1.3;
    location / {{ default_type text/plain; return 200 'the canned response of loadr-target'; }}
  }}
}}
"
    )
}

//! `defaults.http.tls`.

use std::path::{Path, PathBuf};

use super::Compiler;
use crate::plan::Text;
use crate::program::{Location, Tls, TlsVersion};

impl Compiler<'_> {
    /// `file` is the plan's, which relative paths are relative to.
    pub(super) fn tls(&mut self, file: &Path) -> Tls {
        let plan = &self.plan.http.tls;
        let folder = file.parent().unwrap_or(Path::new(""));
        let path = |text: &Option<Text>| -> Option<PathBuf> {
            let path = folder.join(&text.as_ref()?.text);
            // Only fails when there is no current directory; then the path is as good as it gets.
            Some(std::path::absolute(&path).unwrap_or(path))
        };
        for (one, other, name) in [
            (&plan.cert_file, &plan.key_file, "key_file"),
            (&plan.key_file, &plan.cert_file, "cert_file"),
        ] {
            if let (Some(one), None) = (one, other) {
                let message = format!("`{name}` is missing");
                let help = "a client's certificate and its key go together".to_owned();
                self.report.error(&one.at, message, Some(help));
            }
        }
        let min_version = plan.min_version.unwrap_or(TlsVersion::V1_2);
        let max_version = plan.max_version.unwrap_or(TlsVersion::V1_3);
        if let Some(at) = &plan.at
            && min_version > max_version
        {
            let message = "`min_version` is newer than `max_version`".to_owned();
            self.report.error(at, message, None);
        }
        Tls {
            insecure_skip_verify: plan.insecure_skip_verify,
            ca_file: path(&plan.ca_file),
            cert_file: path(&plan.cert_file),
            key_file: path(&plan.key_file),
            server_name: plan.server_name.as_ref().map(|name| name.text.clone()),
            min_version,
            max_version,
            location: plan.at.as_ref().map_or_else(
                || Location {
                    path: "defaults.http".to_owned(),
                    line: 0,
                    column: 0,
                },
                crate::node::At::location,
            ),
        }
    }
}

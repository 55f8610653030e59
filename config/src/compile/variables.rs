//! The plan's `variables`: constants, with what the environment gives them.

use serde_json::Value as Json;

use super::Compiler;
use super::scope::Constant;
use crate::diagnostic::shown;
use crate::node::{Content, Entry, Node, Path};
use crate::plan::Text;
use crate::template::Part;

impl Compiler<'_> {
    /// Resolves `variables`.
    pub(super) fn variables(&mut self) {
        for variable in &self.plan.variables {
            if variable.value.is_null() {
                let message = format!("the variable `{}` has no value", shown(&variable.name));
                let help = "write `\"\"` for an empty text".to_owned();
                self.report.error(&variable.at, message, Some(help));
            }
            let Some(json) = self.resolve(&variable.value, &Path::Written(&variable.at.path))
            else {
                // Known by name, so that its uses are not errors too.
                let constant = Constant {
                    text: String::new(),
                    json: Json::Null,
                };
                self.constants.insert(&variable.name, constant);
                continue;
            };
            let text = match (&json, &variable.value.content) {
                (Json::String(text), _) => text.clone(),
                // Numbers stay as they are written: `1.10` is not `1.1`.
                (_, Content::Scalar(scalar)) => scalar.text.clone(),
                (json, _) => json.to_string(),
            };
            self.constants
                .insert(&variable.name, Constant { text, json });
        }
    }

    /// The JSON of a variable, `${env.NAME}` resolved in its texts.
    fn resolve(&mut self, node: &Node, path: &Path<'_>) -> Option<Json> {
        match &node.content {
            Content::Scalar(scalar) => match scalar.to_json() {
                Json::String(text) => {
                    let text = Text {
                        text,
                        at: path.at(node.pos),
                    };
                    self.env_only(&text).map(Json::String)
                }
                json => Some(json),
            },
            Content::List(items) => {
                let items = items.iter().enumerate();
                items
                    .map(|(i, item)| self.resolve(item, &path.item(i)))
                    .collect()
            }
            Content::Map(entries) => {
                let resolve = |entry: &Entry| {
                    let value = self.resolve(&entry.value, &path.key(&entry.key))?;
                    Some((entry.key.clone(), value))
                };
                entries
                    .iter()
                    .map(resolve)
                    .collect::<Option<_>>()
                    .map(Json::Object)
            }
        }
    }

    fn env_only(&mut self, text: &Text) -> Option<String> {
        let mut out = String::new();
        for part in self.parts(text)? {
            match part {
                Part::Literal(literal) => out.push_str(literal),
                Part::Slot(slot) => match slot.strip_prefix("env.") {
                    Some(name) => out.push_str(&self.plain_environment(name, &text.at)?),
                    None => {
                        let message =
                            format!("`${{{}}}` cannot be used in `variables`", shown(slot));
                        let help = "only `${env.NAME}` can".to_owned();
                        self.report.error(&text.at, message, Some(help));
                        return None;
                    }
                },
            }
        }
        Some(out)
    }
}

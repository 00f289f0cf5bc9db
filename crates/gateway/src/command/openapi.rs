//! `openapi`: the API description as files.

use std::path::Path;

use crate::{Failure, description, output};

pub(super) fn run(folder: &Path, check: bool) -> Result<(), Failure> {
    for (name, document) in description::documents() {
        let path = folder.join(format!("{name}.json"));
        let text = description::text(&document);
        if check {
            let committed = std::fs::read_to_string(&path).unwrap_or_default();
            if committed != text {
                return Err(Failure::new(format!(
                    "{} is out of date; run calldata-gateway openapi --out {}",
                    path.display(),
                    folder.display()
                )));
            }
            continue;
        }
        let written = std::fs::create_dir_all(folder).and_then(|()| std::fs::write(&path, text));
        written.map_err(|error| Failure::because(format!("{} cannot be written", path.display()), &error))?;
        output::line(&format!("wrote {}", path.display()))?;
    }
    if check { output::line("the API description is up to date") } else { Ok(()) }
}

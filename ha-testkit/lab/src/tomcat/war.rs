use std::fs::File;
use std::io::{self, Write};
use std::path::Path;

use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, ZipWriter};

/// Writes a web application as a war: `(path inside, content)` for each of its files. It is in the way of nobody who reads the
/// folder meanwhile: the file appears whole.
///
/// # Errors
/// What the file system says.
///
/// # Examples
///
/// ```
/// let folder = std::env::temp_dir().join(format!("war-{}", std::process::id()));
/// std::fs::create_dir_all(&folder)?;
/// // Tomcat serves the newer of two versions to whoever has no session of the older one.
/// let war = folder.join("stock##002.war");
/// ha_lab::write_war(&war, &[("version.txt", "002"), ("index.jsp", "stock g2")])?;
/// assert!(std::fs::read(&war)?.starts_with(b"PK"));
/// # std::fs::remove_dir_all(folder)?;
/// # Ok::<(), std::io::Error>(())
/// ```
pub fn write_war(path: &Path, files: &[(&str, &str)]) -> io::Result<()> {
    let draft = path.with_extension("draft");
    let options = SimpleFileOptions::default().compression_method(CompressionMethod::Stored);
    let mut war = ZipWriter::new(File::create(&draft)?);
    for (name, content) in files {
        war.start_file(*name, options)?;
        war.write_all(content.as_bytes())?;
    }
    war.finish()?;
    std::fs::rename(draft, path)
}

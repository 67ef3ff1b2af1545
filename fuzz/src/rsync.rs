/// What rsync and the program of the nodes print: read, or not, and nothing counted that is not there.
pub fn rsync_output(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    ha_rsync::fuzz::parse(text);
}

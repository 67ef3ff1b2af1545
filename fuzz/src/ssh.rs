use ha_core::backend::ServerProcess;
use ha_core::backend::linux::UnitStatus;
use ha_ssh::fuzz::{frame, machine, nonce, processes};

/// A stream of a script: in whatever pieces it comes, it tells the same; and an end only behind the script's own marker.
pub fn ssh_frame(data: &[u8]) {
    let Some((place, stream)) = data.split_at_checked(2) else { return };
    let place = usize::from(u16::from_be_bytes([place[0], place[1]])) % (stream.len() + 1);
    let whole = frame([stream]);
    let (before, after) = stream.split_at(place);
    assert_eq!(frame([before, after]), whole);
    assert_eq!(frame(stream.chunks(1)), whole);
    let says = |what: &str| String::from_utf8_lossy(stream).contains(&format!("\n{} {what}", nonce()));
    assert!(!whole.begun || says("b"));
    assert!(whole.code.is_none() || says("e"));
    // What was told of the end stays, whatever is read after it.
    let beginning = frame([before]);
    assert!(beginning.code.is_none() || beginning == whole);
}

/// What a host says of itself and of its server's processes: a life that is told can be found again.
pub fn ssh_look(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    if let Some(Some((boot, pid, start))) = processes(text) {
        assert_eq!(boot.len(), 36);
        assert!(text.contains(&pid.to_string()) || text.contains(&format!("{pid:+}")));
        assert!(text.contains(&start.to_string()) || text.contains(&format!("{start:+}")));
    }
    if let Some((machine, boot)) = machine(text) {
        assert!(!machine.is_empty() && !boot.is_empty());
    }
}

/// What systemd says of a unit: it is stopped only where it says so, and a run has a name.
pub fn systemd_unit(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let Some(status) = UnitStatus::parse(text) else { return };
    match status.process("b") {
        Some(ServerProcess::Stopped) => assert!(text.contains("inactive") || text.contains("failed")),
        Some(ServerProcess::Running(life)) => assert!(life.as_str().len() > "b:".len()),
        None => assert!(status.is_active),
    }
}

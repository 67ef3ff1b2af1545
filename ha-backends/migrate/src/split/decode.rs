use std::str;

/// A script file whose bytes are not text in UTF-8.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("line {line}, byte {offset}: {what}")]
pub struct DecodeError {
    /// The line of the first byte that is wrong, from 1.
    pub line: usize,
    /// Where that byte is in the file, from 0.
    pub offset: usize,
    /// What is wrong, and the fix.
    pub what: String,
}

/// Reads the bytes of a script file: UTF-8, with or without a byte order mark, which is left out.
///
/// # Errors
/// [`DecodeError`] for any other encoding and for NUL bytes.
///
/// # Examples
/// ```
/// use ha_migrate::split::decode;
///
/// assert_eq!(decode(b"\xEF\xBB\xBFSELECT 1;"), Ok("SELECT 1;"));
/// let error = decode(b"-- na\xEFve\n").unwrap_err();
/// assert_eq!((error.line, error.offset), (1, 5));
/// ```
pub fn decode(bytes: &[u8]) -> Result<&str, DecodeError> {
    let (text, skipped) = match bytes.strip_prefix(b"\xEF\xBB\xBF") {
        Some(text) => (text, 3),
        None => (bytes, 0),
    };
    let refuse = |at: usize, what: String| {
        let line = 1 + text.iter().take(at).filter(|&&byte| byte == b'\n').count();
        Err(DecodeError { line, offset: skipped + at, what })
    };
    if bytes.starts_with(b"\xFE\xFF") || bytes.starts_with(b"\xFF\xFE") {
        return refuse(0, "the file is UTF-16: save it as UTF-8 (iconv -f UTF-16 -t UTF-8)".into());
    }
    if let Some(at) = text.iter().position(|&byte| byte == 0) {
        return refuse(at, "a NUL byte, as UTF-16 and binary files have: save the script as UTF-8".into());
    }
    match str::from_utf8(text) {
        Ok(text) => Ok(text),
        Err(error) => {
            let at = error.valid_up_to();
            let byte = text.get(at).copied().unwrap_or_default();
            refuse(
                at,
                format!("byte 0x{byte:02X} is not UTF-8: save the script as UTF-8 (iconv -f WINDOWS-1252 -t UTF-8)"),
            )
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_utf_8_is_refused_with_its_place_and_the_fix() {
        let cases: [(&[u8], usize, usize, &str); 5] = [
            (b"a\nb\n\xE9t\xE9", 3, 4, "0xE9"),
            (b"\xFF\xFEa\0", 1, 0, "UTF-16"),
            (b"\xFE\xFF\0a", 1, 0, "UTF-16"),
            (b"a\n\0", 2, 2, "NUL"),
            (b"\xEF\xBB\xBFa\n\x80", 2, 5, "0x80"),
        ];
        for (bytes, line, offset, says) in cases {
            let error = decode(bytes).unwrap_err();
            assert_eq!((error.line, error.offset), (line, offset), "{bytes:?}");
            assert!(error.what.contains(says) && error.what.contains("UTF-8"), "{error}");
        }
    }

    #[test]
    fn utf_8_is_read_with_and_without_a_byte_order_mark() {
        assert_eq!(decode("\u{feff}été".as_bytes()), Ok("été"));
        assert_eq!(decode("été".as_bytes()), Ok("été"));
        assert_eq!(decode(b""), Ok(""));
        assert_eq!(decode(b"\xEF\xBB\xBF"), Ok(""));
    }
}

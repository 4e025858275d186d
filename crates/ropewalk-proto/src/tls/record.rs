//! Where records end: all that has to be known about them outside rustls.

/// The longest record there is, header included, in bytes: RFC 8446 allows 256 bytes of expansion,
/// RFC 5246 2048.
pub const MAX_RECORD: usize = HEADER + 16_384 + 2048;

/// What the front of some input is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Extent {
    /// Too little for a whole record.
    Partial,
    /// A record of so many bytes, header included.
    Whole(usize),
    /// Not the header of a record.
    Invalid,
}

/// Measures the record at the front of `input`.
pub(super) fn first_record(input: &[u8]) -> Extent {
    let Some((&[kind, major, _, high, low], _)) = input.split_first_chunk::<HEADER>() else {
        return Extent::Partial;
    };
    let end = HEADER + usize::from(u16::from_be_bytes([high, low]));
    if !KINDS.contains(&kind) || major != MAJOR || end > MAX_RECORD {
        return Extent::Invalid;
    }
    if input.len() < end {
        return Extent::Partial;
    }
    Extent::Whole(end)
}

/// Whether `input` is the front of an HTTP/1 request or response, or of HTTP/2 in the clear.
pub(super) fn is_http(input: &[u8]) -> bool {
    HTTP.iter().any(|front| input.starts_with(front))
}

/// The length of a record's header, in bytes.
pub(super) const HEADER: usize = 5;

/// The content type of application data; of everything encrypted, in TLS 1.3.
pub(super) const APPLICATION_DATA: u8 = 23;

/// From change_cipher_spec to heartbeat.
const KINDS: std::ops::RangeInclusive<u8> = 20..=24;

/// The first byte of every version since SSL 3.0.
const MAJOR: u8 = 3;

/// Not longer than a header, which is all that is looked at.
const HTTP: [&[u8]; 11] = [
    b"GET /", b"HEAD ", b"POST ", b"PUT /", b"DELET", b"PATCH", b"OPTIO", b"TRACE", b"CONNE",
    b"PRI *", b"HTTP/",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_is_measured_by_its_header() {
        assert_eq!(first_record(&[]), Extent::Partial);
        assert_eq!(first_record(&[22, 3, 1, 0]), Extent::Partial);
        assert_eq!(first_record(&[22, 3, 1, 0, 2, 7]), Extent::Partial);
        assert_eq!(first_record(&[22, 3, 1, 0, 2, 7, 7, 7]), Extent::Whole(7));
    }

    #[test]
    fn other_types_versions_and_lengths_are_no_record() {
        assert_eq!(first_record(&[19, 3, 3, 0, 0]), Extent::Invalid);
        assert_eq!(first_record(&[25, 3, 3, 0, 0]), Extent::Invalid);
        assert_eq!(first_record(&[23, 2, 0, 0, 0]), Extent::Invalid);
        assert_eq!(first_record(&[23, 3, 3, 0x48, 0x00]), Extent::Partial);
        assert_eq!(first_record(&[23, 3, 3, 0x48, 0x01]), Extent::Invalid);
    }

    #[test]
    fn http_is_known_by_its_first_five_bytes() {
        assert!(is_http(b"GET / HTTP/1.1\r\n"));
        assert!(is_http(b"OPTIONS * HTTP/1.1\r\n"));
        assert!(!is_http(b"GETS "));
        assert!(HTTP.iter().all(|front| front.len() == HEADER));
    }
}

//! What a web server says.

/// The first byte chooses the request: the rest is the reply.
pub(super) fn reply(data: &[u8]) {
    if let Some((first, bytes)) = data.split_first() {
        let _ = baredump::target::web::judge_reply(bytes, first & 1 == 1);
    }
}

/// Replies of each kind of body.
pub(super) fn reply_seeds() -> Vec<Vec<u8>> {
    let replies: [&[u8]; 5] = [
        b"\0HTTP/1.1 200 OK\r\nDate: Sun, 06 Nov 1994 08:49:37 GMT\r\nContent-Length: 3\r\n\r\nabc",
        b"\x01HTTP/1.1 200 OK\r\nContent-Length: 99999999\r\n\r\n",
        b"\0HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3;a=b\r\nabc\r\n0\r\nA: b\r\n\r\n",
        b"\0HTTP/1.1 403 No\r\nConnection: close\r\n\r\n<Error><Code>AccessDenied</Code></Error>",
        b"\0HTTP/1.1 200 OK\r\nContent-Length: 26\r\n\r\n<UploadId>a&quot;</UploadId>",
    ];
    replies.iter().map(|reply| reply.to_vec()).collect()
}

//! A server for the tests: files in memory behind as much of WebDAV and of S3 as the targets use, and faults on demand.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// What goes wrong with a request.
#[derive(Clone, Debug)]
pub(super) enum Fault {
    /// The server reads so much of the body and dies.
    Cut(usize),
    /// It says this and no more.
    Say(String),
    /// It does what was asked, and dies before it says so.
    Lose,
    /// It takes so long.
    Late(Duration),
}

/// A request as it came.
#[derive(Clone, Debug, Default)]
pub(super) struct Request {
    pub(super) method: String,
    pub(super) path: String,
    pub(super) query: String,
    pub(super) headers: BTreeMap<String, String>,
    body: Vec<u8>,
}

#[derive(Default)]
pub(super) struct Store {
    pub(super) files: BTreeMap<String, Vec<u8>>,
    /// Key and parts by the upload's name.
    pub(super) uploads: BTreeMap<String, (String, BTreeMap<u32, Vec<u8>>)>,
    pub(super) requests: Vec<Request>,
    /// Uploads so far.
    count: u32,
}

type Faults = Box<dyn FnMut(&Request) -> Option<Fault> + Send>;

/// The server.
pub(super) struct Fake {
    pub(super) address: SocketAddr,
    pub(super) store: Arc<Mutex<Store>>,
}

impl Fake {
    /// Serves until the tests end; `faults` is asked before each request is answered.
    pub(super) fn start(faults: impl FnMut(&Request) -> Option<Fault> + Send + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let store = Arc::new(Mutex::new(Store::default()));
        let (shared, faults) = (
            store.clone(),
            Arc::new(Mutex::new(Box::new(faults) as Faults)),
        );
        std::thread::spawn(move || {
            for socket in listener.incoming().flatten() {
                let (store, faults) = (shared.clone(), faults.clone());
                std::thread::spawn(move || serve(socket, &store, &faults));
            }
        });
        Self { address, store }
    }

    /// The bytes of a file.
    pub(super) fn file(&self, path: &str) -> Option<Vec<u8>> {
        self.store.lock().unwrap().files.get(path).cloned()
    }

    /// Method and path of the requests so far that `chosen` takes.
    pub(super) fn requests(&self, chosen: impl Fn(&Request) -> bool) -> Vec<String> {
        let store = self.store.lock().unwrap();
        let chosen = store.requests.iter().filter(|request| chosen(request));
        chosen.map(|r| format!("{} {}", r.method, r.path)).collect()
    }

    /// What a target needs to reach it, with short waits.
    pub(super) fn access(&self, secrets: &Path) -> crate::target::Access {
        crate::target::Access {
            secrets: secrets.into(),
            ledger: secrets.join("ledger"),
            timeout: Duration::from_secs(2),
            patience: Duration::from_secs(8),
            last: Duration::from_secs(8),
        }
    }
}

fn serve(socket: TcpStream, store: &Mutex<Store>, faults: &Mutex<Faults>) -> Option<()> {
    let mut writer = socket.try_clone().ok()?;
    let mut reader = BufReader::new(socket);
    loop {
        let mut request = head(&mut reader)?;
        let fault = (faults.lock().unwrap())(&request);
        if let Some(Fault::Cut(bytes)) = fault {
            let _ = reader.read_exact(&mut vec![0; bytes]);
            return None;
        }
        request.body = body(&mut reader, &request)?;
        let reply = match &fault {
            Some(Fault::Say(text)) => {
                let _ = writer.write_all(text.as_bytes());
                return None;
            }
            _ => answer(&mut store.lock().unwrap(), &request),
        };
        match fault {
            Some(Fault::Lose) => return None,
            Some(Fault::Late(time)) => std::thread::sleep(time),
            _ => {}
        }
        store.lock().unwrap().requests.push(request);
        writer.write_all(reply.as_bytes()).ok()?;
    }
}

fn line(reader: &mut BufReader<TcpStream>) -> Option<String> {
    let mut line = String::new();
    reader.read_line(&mut line).ok().filter(|&read| read > 0)?;
    Some(line.trim_end().to_owned())
}

fn head(reader: &mut BufReader<TcpStream>) -> Option<Request> {
    let first = line(reader)?;
    let mut words = first.split(' ');
    let (method, target) = (words.next()?, words.next()?);
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let mut request = Request {
        method: method.into(),
        path: path.into(),
        query: query.into(),
        ..Request::default()
    };
    while let Some((name, value)) = line(reader)?.split_once(": ") {
        request.headers.insert(name.into(), value.into());
    }
    Some(request)
}

fn body(reader: &mut BufReader<TcpStream>, request: &Request) -> Option<Vec<u8>> {
    let mut body = Vec::new();
    let mut take = |reader: &mut BufReader<TcpStream>, count: usize| {
        let from = body.len();
        body.resize(from + count, 0);
        reader.read_exact(&mut body[from..]).ok()
    };
    if let Some(length) = request.headers.get("content-length") {
        take(reader, length.parse().ok()?)?;
        return Some(body);
    }
    loop {
        let size = usize::from_str_radix(&line(reader)?, 16).ok()?;
        take(reader, size)?;
        line(reader)?;
        if size == 0 {
            return Some(body);
        }
    }
}

/// A whole reply.
pub(super) fn reply(status: &str, headers: &str, body: &str) -> String {
    format!(
        "HTTP/1.1 {status}\r\ncontent-length: {}\r\n{headers}\r\n{body}",
        body.len()
    )
}

fn answer(store: &mut Store, request: &Request) -> String {
    let path = request.path.clone();
    let value = |key: &str| {
        let pairs = request
            .query
            .split('&')
            .filter_map(|pair| pair.split_once('='));
        pairs
            .clone()
            .find(|(name, _)| *name == key)
            .map(|(_, value)| value.to_owned())
    };
    let (upload, part) = (value("uploadId"), value("partNumber"));
    let ok = || reply("200 OK", "", "");
    let missing = || reply("404 No", "", "<Error><Code>NoSuchUpload</Code></Error>");
    match (request.method.as_str(), upload, part) {
        ("HEAD", ..) => match store.files.get(&path) {
            Some(file) => format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", file.len()),
            None => "HTTP/1.1 404 No\r\ncontent-length: 9\r\n\r\n".into(),
        },
        ("GET", ..) => match store.files.get(&path) {
            Some(file) => reply("200 OK", "", &String::from_utf8_lossy(file)),
            None => missing(),
        },
        ("POST", None, None) => {
            store.count += 1;
            let name = format!("u{}", store.count);
            store.uploads.insert(name.clone(), (path, BTreeMap::new()));
            reply("200 OK", "", &format!("<X><UploadId>{name}</UploadId></X>"))
        }
        ("PUT", Some(upload), Some(part)) => {
            let Some((_, parts)) = store.uploads.get_mut(&upload) else {
                return missing();
            };
            parts.insert(part.parse().unwrap(), request.body.clone());
            reply("200 OK", &format!("ETag: \"{part}\"\r\n"), "")
        }
        ("POST", Some(upload), None) => {
            let Some((key, parts)) = store.uploads.remove(&upload) else {
                return missing();
            };
            let whole = parts.into_values().flatten().collect();
            store.files.insert(key, whole);
            reply("200 OK", "", "<CompleteMultipartUploadResult/>")
        }
        ("DELETE", Some(upload), None) => {
            store.uploads.remove(&upload);
            ok()
        }
        ("DELETE", ..) => {
            store.files.remove(&path);
            ok()
        }
        ("PUT", ..) if request.headers.contains_key("x-amz-copy-source") => {
            match store
                .files
                .get(&request.headers["x-amz-copy-source"])
                .cloned()
            {
                Some(file) => store.files.insert(path, file),
                None => return missing(),
            };
            reply("200 OK", "", "<CopyObjectResult/>")
        }
        ("PUT", ..) => {
            store.files.insert(path, request.body.clone());
            ok()
        }
        ("MOVE", ..) => {
            let to = request.headers["destination"].split_once("://").unwrap().1;
            let to = &to[to.find('/').unwrap()..];
            match store.files.remove(&path) {
                Some(file) => store.files.insert(to.into(), file),
                None => return reply("404 No", "", ""),
            };
            ok()
        }
        _ => reply("405 No", "", ""),
    }
}

//! Every example, run for real: started as a program of its own, talked to over its port, stopped
//! by SIGTERM, its exit status checked.
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

mod examples_support;

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream, UdpSocket};
use std::process::{Child, Command, Output, Stdio};
use std::thread;
use std::time::Duration;

use examples_support::{PATIENCE, Server, example, read_line};

/// Data in which a lost, doubled or moved byte shows.
fn pattern(length: usize) -> Vec<u8> {
    (0..length as u32)
        .flat_map(|n| n.wrapping_mul(2_654_435_761).to_le_bytes())
        .take(length)
        .collect()
}

#[test]
fn echo_sends_everything_back_and_stops_on_sigterm() {
    let server = Server::start("echo", &["127.0.0.1:0"]);
    let data = pattern(3_000_000);
    let mut stream = server.connect();
    let mut writer = stream.try_clone().unwrap();
    let sent = data.clone();
    let sender = thread::spawn(move || writer.write_all(&sent).unwrap());
    let mut back = vec![0; data.len()];
    stream.read_exact(&mut back).unwrap();
    sender.join().unwrap();
    assert!(back == data);
    // A connection is cut by the shutdown, in order.
    let mut idle = server.connect();
    idle.write_all(b"x").unwrap();
    idle.read_exact(&mut [0]).unwrap();
    server.terminate();
    assert_eq!(idle.read(&mut [0]).unwrap(), 0);
}

#[test]
fn echo_listens_on_ipv6_too() {
    let server = Server::start("echo", &["[::1]:0"]);
    assert!(server.address.is_ipv6());
    let mut stream = server.connect();
    stream.write_all(b"six").unwrap();
    let mut back = [0; 3];
    stream.read_exact(&mut back).unwrap();
    assert_eq!(&back, b"six");
    server.terminate();
}

#[test]
fn echo_says_why_it_cannot_listen() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let output = Command::new(example("echo"))
        .arg(&address)
        .output()
        .unwrap();
    let problem = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{problem}");
    assert!(
        problem.contains("CannotListen") && problem.contains(&address),
        "{problem}"
    );
}

#[test]
fn udp_echo_sends_datagrams_back_to_every_sender() {
    let server = Server::start("udp_echo", &["127.0.0.1:0"]);
    let clients = [(); 3].map(|()| UdpSocket::bind("127.0.0.1:0").unwrap());
    let mut buffer = vec![0; 65_536];
    for (client, length) in clients.iter().zip([0, 64, 65_507]) {
        client.set_read_timeout(Some(PATIENCE)).unwrap();
        let data = pattern(length);
        client.send_to(&data, server.address).unwrap();
        let (count, from) = client.recv_from(&mut buffer).unwrap();
        assert!(buffer[..count] == data && from == server.address);
    }
    let mut socat = Command::new("socat");
    socat.args(["-".to_owned(), format!("UDP:{}", server.address)]);
    let piped = socat.stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut socat = piped.spawn().unwrap();
    let mut stdin = socat.stdin.take().unwrap();
    stdin.write_all(b"from socat\n").unwrap();
    let mut stdout = BufReader::new(socat.stdout.take().unwrap());
    assert_eq!(read_line(&mut stdout), "from socat");
    socat.kill().unwrap();
    socat.wait().unwrap();
    server.terminate();
}

/// Talks to a hosted server: through its reactor, through its host, and to the end.
fn check_hosted(name: &str) {
    let mut server = Server::start(name, &["127.0.0.1:0"]);
    let mut stdin = server.stdin.take().unwrap();
    let mut client = server.connect();
    // Round trips one by one: each needs the host to be woken.
    for n in 0..1000_u32 {
        client.write_all(&n.to_le_bytes()).unwrap();
        expect(&mut client, &n.to_le_bytes());
    }
    let data = pattern(3_000_000);
    let (mut writer, sent) = (client.try_clone().unwrap(), data.clone());
    let sender = thread::spawn(move || writer.write_all(&sent).unwrap());
    expect(&mut client, &data);
    sender.join().unwrap();
    for line in ["one\n", "two\n"] {
        stdin.write_all(line.as_bytes()).unwrap();
        expect(&mut client, line.as_bytes());
    }
    drop(stdin);
    assert_eq!(client.read(&mut [0; 16]).unwrap(), 0, "stopped by its host");
    server.expect_success();
}

/// Reads `data` and nothing else.
fn expect(stream: &mut TcpStream, data: &[u8]) {
    let mut received = vec![0; data.len()];
    stream.read_exact(&mut received).unwrap();
    assert!(received == data);
}

#[test]
fn a_reactor_lives_in_a_poll_loop() {
    check_hosted("hosted_in_poll");
}

#[test]
fn a_reactor_lives_in_calloop() {
    check_hosted("hosted_in_calloop");
}

#[test]
#[cfg(feature = "tokio")]
fn a_reactor_lives_in_tokio() {
    check_hosted("hosted_in_tokio");
}

#[test]
fn a_hosted_reactor_stops_on_sigterm() {
    let server = Server::start("hosted_in_calloop", &["127.0.0.1:0"]);
    let mut client = server.connect();
    client.write_all(b"x").unwrap();
    expect(&mut client, b"x");
    server.terminate();
}

#[test]
fn chat_tells_the_others_and_nobody_else() {
    let server = Server::start("chat", &["127.0.0.1:0"]);
    let mut first = BufReader::new(server.connect());
    let first_name = first.get_ref().local_addr().unwrap();
    // Answered by nobody: the second line proves that the first client is known before the next.
    let mut second = BufReader::new(server.connect());
    let second_name = second.get_ref().local_addr().unwrap();
    assert_eq!(read_line(&mut first), format!("{second_name} is here"));
    second.get_ref().write_all(b"hello, ").unwrap();
    second.get_ref().write_all(b"you\nbye\n").unwrap();
    assert_eq!(read_line(&mut first), format!("{second_name}: hello, you"));
    assert_eq!(read_line(&mut first), format!("{second_name}: bye"));
    first.get_ref().write_all(b"so long\n").unwrap();
    assert_eq!(read_line(&mut second), format!("{first_name}: so long"));
    drop(second);
    assert_eq!(read_line(&mut first), format!("{second_name} has left"));
    server.terminate();
}

#[test]
fn forward_passes_both_directions_and_either_half_close() {
    let target = TcpListener::bind("127.0.0.1:0").unwrap();
    let to = target.local_addr().unwrap().to_string();
    let server = Server::start("forward", &["127.0.0.1:0", &to]);
    let data = pattern(8_000_000);
    let expected = data.clone();
    // Reads all, and answers only then: the way back is open although the way there is closed.
    let peer = thread::spawn(move || {
        let (mut stream, _) = target.accept().unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let mut request = Vec::new();
        stream.read_to_end(&mut request).unwrap();
        assert!(request == expected);
        stream.write_all(&request).unwrap();
    });
    let mut stream = server.connect();
    stream.write_all(&data).unwrap();
    stream.shutdown(Shutdown::Write).unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    assert!(answer == data);
    peer.join().unwrap();
    server.terminate();
}

#[test]
fn forward_keeps_a_fast_sender_from_a_slow_reader() {
    let target = TcpListener::bind("127.0.0.1:0").unwrap();
    let to = target.local_addr().unwrap().to_string();
    let server = Server::start("forward", &["127.0.0.1:0", &to]);
    let mut stream = server.connect();
    let (slow, _) = target.accept().unwrap();
    // Nobody reads, so all buffers fill and the sender is stopped: the forwarder holds no more.
    stream.set_nonblocking(true).unwrap();
    let (chunk, mut sent, mut refused) = (vec![7; 1 << 20], 0, 0);
    while refused < 20 {
        match stream.write(&chunk) {
            Ok(count) => (sent, refused) = (sent + count, 0),
            Err(error) => {
                assert_eq!(error.kind(), std::io::ErrorKind::WouldBlock);
                refused += 1;
                thread::sleep(Duration::from_millis(10));
            }
        }
        assert!(sent < 200 << 20, "the forwarder swallows everything");
    }
    assert!(resident_bytes(&server.child) < 64 << 20);
    // What was taken arrives once the peer reads.
    stream.set_nonblocking(false).unwrap();
    stream.shutdown(Shutdown::Write).unwrap();
    slow.set_read_timeout(Some(PATIENCE)).unwrap();
    assert_eq!(
        std::io::copy(&mut &slow, &mut std::io::sink()).unwrap(),
        sent as u64
    );
    server.terminate();
}

/// How much memory a child holds, in bytes.
fn resident_bytes(child: &Child) -> usize {
    let status = std::fs::read_to_string(format!("/proc/{}/status", child.id())).unwrap();
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))
        .unwrap();
    line.trim()
        .strip_suffix(" kB")
        .unwrap()
        .parse::<usize>()
        .unwrap()
        * 1024
}

#[test]
fn forward_cuts_the_client_when_the_target_refuses() {
    let closed = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    let server = Server::start("forward", &["127.0.0.1:0", &closed.to_string()]);
    let mut stream = server.connect();
    let error = stream.read(&mut [0]).unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset);
    server.terminate();
}

#[test]
fn forward_passes_a_loss_on_to_the_other_side() {
    let target = TcpListener::bind("127.0.0.1:0").unwrap();
    let to = target.local_addr().unwrap().to_string();
    let server = Server::start("forward", &["127.0.0.1:0", &to]);
    let mut stream = server.connect();
    let (mut peer, _) = target.accept().unwrap();
    stream.write_all(b"x").unwrap();
    peer.read_exact(&mut [0]).unwrap();
    // Closed with data unread: the kernel resets the connection.
    stream.write_all(b"unread").unwrap();
    while peer.peek(&mut [0; 6]).unwrap() < 6 {
        thread::yield_now();
    }
    drop(peer);
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let error = stream.read(&mut [0]).unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset);
    server.terminate();
}

/// Serves one HTTP request with this response, cut into pieces; returns the request.
fn serve_once(response: &'static [&'static str]) -> (u16, thread::JoinHandle<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let server = thread::spawn(move || {
        let (stream, _) = listener.accept().unwrap();
        let mut reader = BufReader::new(&stream);
        let mut request = String::new();
        while !request.ends_with("\r\n\r\n") {
            assert_ne!(reader.read_line(&mut request).unwrap(), 0);
        }
        for piece in response {
            (&stream).write_all(piece.as_bytes()).unwrap();
        }
        request
    });
    (port, server)
}

fn http_get(arguments: &[&str]) -> Output {
    Command::new(example("http_get"))
        .args(arguments)
        .output()
        .unwrap()
}

#[test]
fn http_get_fetches_a_url_by_host_name() {
    let (port, server) = serve_once(&[
        "HTTP/1.0 200 OK\r\nContent-Le",
        "ngth: 6\r\n\r",
        "\nhel",
        "lo\n",
    ]);
    let output = http_get(&[&format!("http://localhost:{port}/a/page?q=1")]);
    let request = server.join().unwrap();
    assert!(output.status.success(), "{output:?}");
    assert_eq!(output.stdout, b"hello\n");
    assert_eq!(output.stderr, b"HTTP/1.0 200 OK\n");
    let expected = format!("GET /a/page?q=1 HTTP/1.0\r\nHost: localhost:{port}\r\n\r\n");
    assert_eq!(request, expected);
}

#[test]
fn http_get_takes_host_port_and_path_as_well() {
    let (port, server) = serve_once(&["HTTP/1.0 200 OK\r\n\r\n", "no length given"]);
    let output = http_get(&[&format!("127.0.0.1:{port}"), "/there"]);
    assert!(
        server
            .join()
            .unwrap()
            .starts_with("GET /there HTTP/1.0\r\n")
    );
    assert!(output.status.success(), "{output:?}");
    assert_eq!(output.stdout, b"no length given");
}

#[test]
fn http_get_fails_when_the_fetch_does() {
    let failure = |arguments: &[&str]| {
        let output = http_get(arguments);
        assert_eq!(output.status.code(), Some(1), "{output:?}");
        String::from_utf8(output.stderr).unwrap()
    };
    let (port, server) = serve_once(&["HTTP/1.0 404 Not Found\r\n\r\nnothing"]);
    assert!(failure(&[&format!("127.0.0.1:{port}/")]).contains("404 Not Found"));
    server.join().unwrap();
    let (port, server) = serve_once(&["HTTP/1.0 200 OK\r\nContent-Length: 9\r\n\r\nshort"]);
    assert!(failure(&[&format!("127.0.0.1:{port}/")]).contains("cut short"));
    server.join().unwrap();
    let closed = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    assert!(failure(&[&closed.to_string(), "/"]).contains("connection refused"));
    assert_eq!(http_get(&[]).status.code(), Some(2));
}

#[test]
fn timers_ends_by_itself() {
    let output = Command::new(example("timers")).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    let expected = "3\n2\n1\n0\nslept, limit cancelled: true\n";
    assert_eq!(String::from_utf8(output.stdout).unwrap(), expected);
}

#[test]
fn call_from_thread_passes_lines_on_and_ends_with_its_input() {
    let mut server = Server::start("call_from_thread", &["127.0.0.1:0"]);
    let mut clients = [(); 2].map(|()| BufReader::new(server.connect()));
    for client in &mut clients {
        assert_eq!(read_line(client), "welcome");
    }
    let mut stdin = server.stdin.take().unwrap();
    stdin.write_all(b"one\ntwo\n").unwrap();
    for client in &mut clients {
        assert_eq!([read_line(client), read_line(client)], ["one", "two"]);
    }
    drop(stdin);
    server.expect_success();
    for client in &mut clients {
        assert_eq!(read_line(client), "");
    }
}

#[test]
fn call_from_thread_stops_on_sigterm_while_its_thread_waits() {
    let server = Server::start("call_from_thread", &["127.0.0.1:0"]);
    // The line about its port comes before the loop; the welcome shows that the loop runs.
    assert_eq!(read_line(&mut BufReader::new(server.connect())), "welcome");
    server.terminate();
}

#[test]
fn run_command_feeds_a_program_and_ends_as_it_does() {
    let run = |arguments: &[&str], input: &[u8]| {
        let mut child = Command::new(example("run_command"))
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        child.stdin.take().unwrap().write_all(input).unwrap();
        child.wait_with_output().unwrap()
    };
    let sorted = run(&["sort", "-r"], b"hemp\nrope\n");
    assert_eq!(
        (sorted.status.code(), &sorted.stdout[..]),
        (Some(0), &b"rope\nhemp\n"[..])
    );
    let failed = run(&["sh", "-c", "echo no >&2; exit 3"], b"");
    assert_eq!(
        (failed.status.code(), &failed.stderr[..]),
        (Some(3), &b"no\n"[..])
    );
    let killed = run(&["sh", "-c", "kill -TERM $$"], b"");
    assert_eq!(killed.status.code(), Some(128 + 15));
    let nowhere = run(&["/no/such/program"], b"");
    assert_eq!(nowhere.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&nowhere.stderr).contains("/no/such/program"));
}

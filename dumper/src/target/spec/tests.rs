//! Tests of `spec`.

use super::*;

#[test]
fn round_trip() {
    for text in [
        "file:UUID=0e0cf1bc-1e62-4d22-b2c8-f3c2c4a6a2a1:/var/crash",
        "file:LABEL=my data:/",
        "file:PARTUUID=1234abcd-02:/a",
        "file:PARTLABEL=a:b:/c",
        "file:/dev/mapper/vg-lv:/var/crash",
        "file:WWID=naa.5000c500a1b2c3d4-part2:/a%3Fb",
        "file:UUID=1:/crash?subvol=@crash&deadline=300",
        "raw:PARTUUID=1234abcd-02",
        "raw:/dev/vdb1?id=0123456789abcdef0123456789abcdef",
        "nfs://server/export/dir",
        "nfs://[fd00::1]:12049/a?vers=4.2&timeo=100&noresvport",
        "sftp://core@dumps.example:2022/srv/crash",
        "sftp://a%40b@h/./crash?way=exec",
        "s3://bucket/",
        "s3://bucket/a/b?endpoint=https://s3.example:9000&region=eu-1&part=8",
        "https://dumps.example/put",
        "http://10.0.2.2:8080/x?interface=lan&deadline=60",
        "syslog://log.example",
        "syslog://[::1]:5514?proto=tcp",
        "virtiofs:dumps:/var/crash",
        "dmesg:",
    ] {
        assert_eq!(text.parse::<TargetSpec>().unwrap().to_string(), text);
    }
    let same = |a: &str, b: &str| assert_eq!(a.parse::<TargetSpec>().unwrap().to_string(), b);
    same("file:/dev/vdb://x/", "file:/dev/vdb:/x");
    same("nfs://Server:2049/x/?soft", "nfs://server:2049/x");
    same("s3://b?part=5&region=us-east-1", "s3://b/");
}

#[test]
fn servers() {
    let server = |text: &str| {
        let spec: TargetSpec = text.parse().unwrap();
        spec.server().map(|(host, port)| format!("{host} {port}"))
    };
    assert_eq!(server("nfs://a/x").unwrap(), "a 2049");
    assert_eq!(server("sftp://u@[::1]/x").unwrap(), "::1 22");
    assert_eq!(
        server("s3://b/?endpoint=https://S3.example").unwrap(),
        "s3.example 443"
    );
    assert_eq!(
        server("s3://b/?endpoint=http://[fd00::1]:9000").unwrap(),
        "fd00::1 9000"
    );
    assert_eq!(server("file:/dev/vda:/"), None);
    assert!("s3://b/".parse::<TargetSpec>().unwrap().needs_network());
}

#[test]
fn what_is_no_target() {
    let error = |text: &str| text.parse::<TargetSpec>().unwrap_err().to_string();
    assert!(error("/var/crash").contains("use file:"));
    assert!(error("gopher:x").contains("gopher:x"));
    for bad in [
        "file:",
        "file:/dev/vdb",
        "file:/dev/:/x",
        "file:UUID=:/x",
        "file:ID=3:/x",
        "file:vdb:/x",
        "file:/dev/../vdb:/x",
        "raw:",
        "raw:vdb",
        "raw:/dev/vdb?subvol=x",
        "raw:/dev/vdb?id=12",
        "raw:/dev/vdb?id=0123456789ABCDEF0123456789abcdef",
        "nfs:/server/x",
        "nfs://server",
        "nfs://user@server/x",
        "nfs://server/x?vers=2",
        "nfs://server/x?rsize=big",
        "nfs://server/x?timeo=1,hard",
        "sftp://server/x",
        "sftp://u@server",
        "sftp://u@server/x?way=scp",
        "s3://bucket:9/x",
        "s3://bucket/x?part=1",
        "s3://bucket/x?endpoint=server",
        "s3://bucket/x?endpoint=https://server/path",
        "http://",
        "syslog://h/path",
        "syslog://h?proto=relp",
        "virtiofs:tag",
        "virtiofs::/x",
        "dmesg:x",
        "dmesg:?interface=lan",
        "dmesg:?deadline=soon",
        "dmesg:?deadline=0",
    ] {
        assert!(
            matches!(bad.parse::<TargetSpec>(), Err(SpecError::Form { .. })),
            "{bad}"
        );
    }
    assert!(error("file:/dev/vdb:/a/../../b").contains(".."));
    assert!(error("file:/dev/vdb:/a\nb").contains("control"));
    assert!(error("nfs://h/x?sec=krb5").contains("Kerberos"));
    assert!(error("nfs://h/x?hard").contains("mounts soft"));
    assert!(error("sftp://u:secret@h/x").contains("key file"));
    assert!(error("file:/dev/vdb:/a?sub=x").contains("subvol=NAME"));
}

//! A word that was to name recipients, and names none that can be used: nothing may be written in clear.

use baredump::config::Config;

const KEY: &str = "age1xmwwc06ly3ee5rytxm9mflaz2u56jjj36s0mypdrwsvlul66mv4q47ryef";

#[test]
fn a_wrong_word_for_recipients_forbids_clear_text() {
    for words in [
        format!("baredump.recipients={}", KEY.to_uppercase()),
        "baredump.recipients=bob".into(),
        "baredump.recipients=".into(),
        "baredump.recipients".into(),
        format!("baredump.recipient={KEY}"),
        format!("baredump.Recipients={KEY}"),
        format!("baredump.age={KEY}"),
    ] {
        let (config, warnings) = Config::load(None, &words);
        assert!(config.recipients.is_empty());
        let why = config.clear_forbidden.expect(&words);
        assert!(why.contains("nothing is written in clear"), "{why}");
        assert!(why.len() < 195, "a line of the protocol cuts it: {why}");
        assert_eq!(warnings.len(), 1);
        // What the file names stands.
        let file = format!("recipients = [\"{KEY}\"]");
        assert_eq!(Config::load(Some(&file), &words).0.recipients, [KEY]);
    }
    let broken = format!("targets = [\nrecipients = [\"{KEY}\"]");
    assert!(Config::load(Some(&broken), "").0.clear_forbidden.is_some());
}

#[test]
fn who_wants_no_encryption_has_none() {
    let (config, _) = Config::load(Some("recipients = []"), "baredump.level=32");
    assert_eq!(config.clear_forbidden, None);
    assert_eq!(
        Config::load(None, "baredump.recipient_=")
            .0
            .recipients
            .len(),
        0
    );
}

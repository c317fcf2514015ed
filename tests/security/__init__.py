"""Attacks on our own server and client over loopback; each test fails without its defence.

If a test elsewhere already covers an attack, there is no second one here. The index, by attack:

========================================  ==============================================================================
cross-site WebSocket hijacking            test_origins, ../server/test_responses, ../conformance/test_server_handshake
DNS rebinding                             test_origins
slow handshake                            ../connection/test_deadlines
huge handshake sent to a server           test_strangers, ../server/test_responses
huge or endless response to a client      test_handshakes, ../client/test_client
slow patterns (ReDoS)                     test_handshakes, ../protocol/test_extensions
header injection by the caller            test_handshakes
request smuggling                         test_handshakes, ../protocol/test_exchange
length overflow, endless parser loop      test_messages, ../protocol/test_frames, ../project/test_fuzz_corpus
big message, by each way to receive       test_messages, ../connection/test_fragments, ../connection/test_failing
tiny and empty fragments                  test_messages
decompression bomb                        test_compression, ../protocol/test_deflate
RSV1 without a negotiated extension       ../conformance/test_frames, ../connection/test_compression
invalid extension parameters              ../conformance/test_deflate, ../protocol/test_deflate
ping flood                                test_buffers (16 queued Pongs), ../conformance/test_ping_pong
duplicate Pong                            test_buffers
slow reader                               test_buffers, ../connection/test_backpressure,
                                          ../connection/test_write_timeout
flood of TLS responses                    test_tls_answers
header names that are never freed         test_kept
misuse of the compiled types              ../protocol/test_hostile_use, ../protocol/test_no_memory
a close that never ends                   ../connection/test_failing, ../conformance/test_closing
close flood                               test_closing
send racing with close                    test_closing, ../conformance/test_closing
predictable masking keys or nonce         ../protocol/test_seed_faults, ../conformance/test_frames
a few bytes keep the read buffer alive    test_buffers
host name not checked in TLS              ../transport/test_connect_streams, ../callbacks/test_tls_options
credentials follow a redirect             ../client/test_redirects, ../client/test_client
compression oracle (BREACH)               test_compression, ../connection/test_compression
connection storm                          ../server/test_connection_limits
secrets in logs, errors and reprs         test_secrets, test_logs, ../test_logs
headers of a hostile server               ../project/test_fuzz_corpus, ../client/test_credentials,
                                          ../client/test_reconnecting
a rejection that never ends               ../client/test_handshakes
hosts that can be read in two ways        ../protocol/test_uri, ../transport/test_securing
forged lines and terminal codes in logs   test_logs, test_strangers
port scans, other protocols, garbage      test_strangers, ../server/test_responses
an error in one connection                test_one_connection_only, ../server/test_responses, ../faults, ../callbacks
errors on both sides name the limit       test_messages, ../connection/test_failing
========================================  ==============================================================================

The tests of the features cover the rest: the timing of basic authentication on a server, redirects, proxies, the
backoff of a reconnecting client, and the memory of native code.
"""

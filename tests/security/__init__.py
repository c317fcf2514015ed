"""Attacks on our own server and client over loopback; each test fails without its defence.

Where a test elsewhere is exactly that, there is no second one. The index, by attack:

========================================  ==============================================================================
cross-site WebSocket hijacking            test_origins, ../test_responses::test_origins_and_hosts,
                                          ../conformance/test_server_handshake::test_4_2_2_a_foreign_origin_...
DNS rebinding                             test_origins::test_dns_rebinding_by_default
slow handshake                            ../test_deadlines, ../test_seed_faults_io
huge handshake, to a server               test_strangers::test_a_stranger_is_refused, ../test_responses::test_refusals
huge or endless answer, to a client       test_handshakes::test_an_endless_row_of_informational_answers,
                                          ../test_client::test_the_body_of_a_refusal_is_bounded
slow patterns (ReDoS)                     test_handshakes::test_redos_..., ../protocol/test_extensions
header injection by the caller            test_handshakes::test_header_injection_...
request smuggling                         test_handshakes::test_request_smuggling_..., ../protocol/test_exchange
length overflow, endless parser loop      test_messages, ../protocol/test_frames, ../test_fuzz_corpus
big message, on each path                 test_messages, ../test_fragments, ../test_compression, ../test_failing
tiny and empty fragments                  test_messages::test_100000_fragments
decompression bomb                        test_compression, ../protocol/test_deflate
RSV1 without agreement                    ../conformance/test_frames::test_5_2_reserved_bits_..., ../test_compression
bad extension parameters                  ../conformance/test_deflate, ../protocol/test_deflate
ping flood                                test_buffers (16 answers wait), ../conformance/test_ping_pong
duplicate Pong                            test_buffers::test_a_pong_that_comes_twice
slow reader                               test_buffers, ../test_backpressure, ../test_write_timeout
TLS answers of a peer that does not read  test_tls_answers
header names that stay for ever           test_kept
misuse of the compiled types              ../protocol/test_hostile_use, ../protocol/test_no_memory
a close that never ends                   ../test_failing, ../conformance/test_closing
close flood                               test_closing
send racing close                         test_closing, ../conformance/test_closing::test_5_5_1_...
predictable masks or nonce                ../protocol/test_seed_faults, ../conformance/test_frames::test_5_3_...
a short rest pins the read buffer         test_buffers
TLS name not checked                      ../test_connect_streams, ../callbacks/test_tls_options
credentials follow a redirect             ../test_redirects, ../test_client::test_a_redirect_is_not_followed
compression oracle (BREACH)               ../test_compression: off by default, choice for each message
connection storm                          ../test_connection_limits
secrets in logs, messages and reprs       test_secrets, test_logs, ../test_logs
headers of a hostile server               ../test_fuzz_corpus (headers), ../test_credentials, ../test_reconnecting
a refusal that never ends                 ../client/test_handshakes
hosts that are read in two ways           ../protocol/test_uri, ../test_securing
forged lines and terminal codes in logs   test_logs, test_strangers
port scans, other protocols, garbage      test_strangers, ../test_responses::test_strangers_are_one_line_in_the_log
a fault in one connection                 test_one_connection_only, ../test_responses, ../test_faults, ../callbacks
limits are named on both sides            ../test_failing::test_a_limit_is_named_on_both_sides, test_messages
========================================  ==============================================================================

These come with their features: the timing of basic authentication on a server, redirects that are followed, proxies,
the back-off of a client that reconnects, memory of native code.
"""

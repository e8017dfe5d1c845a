// Tests only: a provider's certificate for the app com.example.petrel, self-signed, valid for a hundred years.
// Guarantees: nothing trusts it unless a test says so.

export const clientCertificate = `-----BEGIN CERTIFICATE-----
MIIBpjCCAUwCEQD9dhdbKwUgMFfOLnSU0DjPMAoGCCqGSM49BAMCMFYxIjAgBgoJ
kiaJk/IsZAEBDBJjb20uZXhhbXBsZS5wZXRyZWwxMDAuBgNVBAMMJ0FwcGxlIFB1
c2ggU2VydmljZXM6IGNvbS5leGFtcGxlLnBldHJlbDAgFw0yNTAxMDEwMDAwMDBa
GA8yMTI1MDEwMTAwMDAwMFowVjEiMCAGCgmSJomT8ixkAQEMEmNvbS5leGFtcGxl
LnBldHJlbDEwMC4GA1UEAwwnQXBwbGUgUHVzaCBTZXJ2aWNlczogY29tLmV4YW1w
bGUucGV0cmVsMFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEOSCgs6KU6wV5LBCf
S2toez3cFYb721HIM8eoy8mRWNK73rioRQ8QHAyX8LLq6j60fj7VU5gM5LlIq3O0
B1FyRjAKBggqhkjOPQQDAgNIADBFAiEAogYui9exz0e1jJs4ptOGZn5B4tRkcwt5
Fp+rb0SapSECIHSmZjNLHhvqQsCuJOxdsW/+MdSijzEVEFIhyW5ipOTS
-----END CERTIFICATE-----
`;

export const clientCertificateKey = `-----BEGIN PRIVATE KEY-----
MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQglssIUhJN1GwL8R6k
UQC+s5oxoVD/FyXzqvFkeYXTvAihRANCAAQ5IKCzopTrBXksEJ9La2h7PdwVhvvb
Ucgzx6jLyZFY0rveuKhFDxAcDJfwsurqPrR+PtVTmAzkuUirc7QHUXJG
-----END PRIVATE KEY-----
`;

// Package bucket assigns users to buckets. It compiles under TinyGo.
package bucket

import "perch/shared/lean"

// Count is the number of buckets; one bucket is one basis point of the users.
const Count = 10_000

// Of returns the bucket of a user, 0 to Count−1:
//
//	xxhash64(salt + "\x00" + userID) mod 10000
//
// The salt is fixed for the life of a rollout, so a rising percentage never
// moves a user back, and a new rollout draws other users first.
func Of(salt, userID string) int {
	return int(digest("", salt, userID) % Count)
}

// Fingerprint returns a 64-bit digest of the user under the salt, independent
// of the bucket: telemetry counts distinct users by it and never learns the id.
func Fingerprint(salt, userID string) uint64 {
	return digest("fingerprint\x00", salt, userID)
}

func digest(prefix, salt, userID string) uint64 {
	var h lean.XXH64
	h.WriteString(prefix)
	h.WriteString(salt)
	h.WriteString("\x00")
	h.WriteString(userID)
	return h.Sum()
}

//go:build perch_trap

package reactor

// trapOn panics for the user "perch-trap", so that a test can see the shell
// survive it.
func trapOn(user string) {
	if user == "perch-trap" {
		panic("trap asked for by a test")
	}
}

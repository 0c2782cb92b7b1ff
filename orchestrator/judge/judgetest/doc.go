// Package judgetest proves the judge against things that its author did not write:
// a second implementation of the method, slow and plain, which keeps nothing and
// recomputes each number from the whole history; gonum; and simulations.
package judgetest

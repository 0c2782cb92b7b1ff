package command

import (
	"fmt"
	"io"
	"sync"
	"sync/atomic"
	"time"

	"perch/orchestrator/simulate/figures"
)

// simulationProgress shows on stderr how far a simulation is: in one line that is
// redrawn on a terminal, and else in a line for each row that is done.
type simulationProgress struct {
	w        io.Writer
	live     bool
	total    int
	finished atomic.Int64
	stop     chan struct{}
	drawn    sync.WaitGroup
}

// redraw is the time between two redrawings on a terminal.
const redraw = 200 * time.Millisecond

func (a *app) simulationProgress(total int) *simulationProgress {
	p := &simulationProgress{w: a.stderr, live: isTerminal(a.stderr) && a.env["TERM"] != "dumb", total: total, stop: make(chan struct{})}
	if p.live {
		p.drawn.Go(p.draw)
	}
	return p
}

func (p *simulationProgress) draw() {
	ticker := time.NewTicker(redraw)
	defer ticker.Stop()
	for {
		select {
		case <-p.stop:
			fmt.Fprint(p.w, "\r\x1b[K")
			return
		case <-ticker.C:
			n := p.finished.Load()
			fmt.Fprintf(p.w, "\r\x1b[K%3d %%  %s of %s rollouts", 100*n/int64(max(1, p.total)), figures.Count(float64(n)), figures.Count(float64(p.total)))
		}
	}
}

// add counts a rollout that is done.
func (p *simulationProgress) add() { p.finished.Add(1) }

// done tells of a row that is done.
func (p *simulationProgress) done(r figures.Row) {
	if !p.live {
		fmt.Fprintf(p.w, "%s of %s rollouts: %s\n", figures.Count(float64(p.finished.Load())), figures.Count(float64(p.total)), r)
	}
}

// close takes the line away.
func (p *simulationProgress) close() {
	close(p.stop)
	p.drawn.Wait()
}

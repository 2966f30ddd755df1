package brownout

import (
	"fmt"
	"slices"
	"time"
)

// The definition of Recovery.
const (
	window   = int64(time.Second)
	step     = int64(100 * time.Millisecond)
	wellFrom = 0.95 // of the good answers before the trouble, relative to the calls
	empty    = 10   // requests in the queue, on average: two for each worker, 20 ms of work
)

// measure returns the figures of an arm.
func (a *arm) measure() Arm {
	p := a.plan
	m := Arm{
		Name: a.name, Calls: len(a.report.Calls), Attempts: len(a.report.Attempts), Arrived: len(a.arrivals),
		Seconds: make([]Second, (p.End-p.Start+window-1)/window),
	}
	second := func(at int64) *Second {
		return &m.Seconds[min(max(at-p.Start, 0)/window, int64(len(m.Seconds)-1))]
	}
	var late []int64
	for _, c := range a.report.Calls {
		late = append(late, c.At-c.Planned)
		second(c.At).Calls++
		switch {
		case c.At < p.From:
			m.HealthyCalls++
		case c.At < a.ended:
			m.TroubleCalls++
		}
		switch {
		case c.End == 0:
			m.Unfinished++
		case c.Good:
			m.Good++
			second(c.End).Good++
			if c.At < p.From {
				m.HealthyGood++
			}
		}
	}
	for _, at := range a.report.Attempts {
		second(at).Attempts++
		if at >= p.From && at < a.ended {
			m.TroubleAttempts++
		}
	}
	for _, at := range a.arrivals {
		second(at.at).Arrived++
		if at.at >= p.From && at.at < a.ended {
			m.TroubleArrived++
		}
	}
	m.Late = percentile99(late)
	m.Load = float64(m.TroubleAttempts) / float64(max(m.TroubleCalls, 1))
	health := float64(m.HealthyGood) / float64(max(m.HealthyCalls, 1))
	for at := a.ended; at+window <= p.End; at += step {
		if a.well(at, health) {
			m.Recovered, m.Recovery = true, seconds(at-a.ended)
			break
		}
	}
	for _, changes := range a.circuits {
		m.addCircuit(changes, p.From, a.ended)
	}
	return m
}

// well reports whether the upstream works as before in the second that begins at from. Health is
// the part of the calls that were good before.
func (a *arm) well(from int64, health float64) bool {
	isIn := func(at int64) bool { return at >= from && at < from+window }
	calls, good, arrived, waiting := 0, 0, 0, 0
	for _, c := range a.report.Calls {
		if isIn(c.At) {
			calls++
		}
		if c.Good && isIn(c.End) {
			good++
		}
	}
	for _, at := range a.arrivals {
		if isIn(at.at) {
			arrived++
			waiting += at.waiting
		}
	}
	return float64(good) >= wellFrom*health*float64(calls) && waiting <= empty*arrived
}

// addCircuit adds the changes of one process's circuit.
func (m *Arm) addCircuit(changes []change, from, ended int64) {
	if len(changes) == 0 {
		return
	}
	open := slices.IndexFunc(changes, func(c change) bool { return c.Open && c.At >= from && c.At < ended })
	if open >= 0 {
		m.Opened++
		m.Recognized = max(m.Recognized, seconds(changes[open].At-from))
	}
	if last := changes[len(changes)-1]; last.Open {
		m.StillOpen++
	} else {
		m.Back = max(m.Back, seconds(last.At-ended))
	}
}

func seconds(d int64) float64 { return time.Duration(d).Seconds() }

// percentile99 returns the 99th percentile of durations, in seconds.
func percentile99(all []int64) float64 {
	if len(all) == 0 {
		return 0
	}
	slices.Sort(all)
	return seconds(all[len(all)*99/100])
}

// The signs of a machine that is too busy to prove something.
const (
	maxLate    = 0.1  // seconds: the 99th percentile of the delays with which calls were made
	minHealthy = 0.99 // of the calls before the trouble must be good
)

// healthy reports whether the calls before the trouble were good.
func (m *Arm) healthy() bool {
	return float64(m.HealthyGood) >= minHealthy*float64(m.HealthyCalls)
}

func (m *Arm) health() string {
	return fmt.Sprintf("%d of %d were good", m.HealthyGood, m.HealthyCalls)
}

// busy reports why the machine was too busy for the figures to prove something. It returns an empty
// string if it was not.
func (s Scenario) busy() string {
	plain, ours := s.Arm(NoRetries), s.Arm(Seawall)
	if max(plain.Late, ours.Late) > maxLate {
		return fmt.Sprintf("the clients made calls %.0f ms late", 1000*max(plain.Late, ours.Late))
	}
	if !plain.healthy() {
		return "calls failed before the trouble: " + plain.health()
	}
	if !plain.Recovered {
		return "the upstream did not recover even without retries"
	}
	return ""
}

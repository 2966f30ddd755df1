package leakcheck

var Run = run

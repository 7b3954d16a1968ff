// Command kube-apiserver is the API server of Kubernetes, built from its Go module,
// because the end-to-end tests run against the real thing and Debian has no package of it.
package main

import (
	"os"
	_ "time/tzdata" // CronJobs name time zones; the machine may have no database of them

	"k8s.io/component-base/cli"
	_ "k8s.io/component-base/metrics/prometheus/clientgo" // registers the client's metrics
	_ "k8s.io/component-base/metrics/prometheus/version"  // registers the version metric
	"k8s.io/kubernetes/cmd/kube-apiserver/app"
)

func main() {
	os.Exit(cli.Run(app.NewAPIServerCommand()))
}

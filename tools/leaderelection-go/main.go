// leaderelection-go competes for a Lease with client-go's elector, so that tests can show that
// HAPTIC's elector and client-go's respect each other. It prints one line for each thing that happens:
//
//	<Unix milliseconds> campaigning IDENTITY
//	<Unix milliseconds> leading IDENTITY
//	<Unix milliseconds> stopped IDENTITY
//	<Unix milliseconds> observed LEADER
//
// With -hold it gives the Lease back after that time and campaigns again; -rounds ends it after so
// many terms. SIGTERM releases; SIGKILL is a crash.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/client-go/tools/leaderelection"
	"k8s.io/client-go/tools/leaderelection/resourcelock"
)

var output sync.Mutex

func say(what, who string) {
	output.Lock()
	defer output.Unlock()
	fmt.Printf("%d %s %s\n", time.Now().UnixMilli(), what, who)
}

func main() {
	kubeconfig := flag.String("kubeconfig", os.Getenv("KUBECONFIG"), "kubeconfig file")
	namespace := flag.String("namespace", "default", "namespace of the Lease")
	name := flag.String("name", "haptic-leader", "name of the Lease")
	identity := flag.String("identity", "", "who competes (required)")
	leaseDuration := flag.Duration("lease-duration", 15*time.Second, "")
	renewDeadline := flag.Duration("renew-deadline", 10*time.Second, "")
	retryPeriod := flag.Duration("retry-period", 2*time.Second, "")
	hold := flag.Duration("hold", 0, "give the Lease back after leading this long; 0: keep it")
	rounds := flag.Int("rounds", 0, "end after this many terms; 0: go on")
	flag.Parse()
	if *identity == "" || flag.NArg() > 0 {
		flag.Usage()
		os.Exit(2)
	}
	config, err := clientcmd.BuildConfigFromFlags("", *kubeconfig)
	if err != nil {
		fail(err)
	}
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		fail(err)
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()

	for term := 0; ctx.Err() == nil && (*rounds == 0 || term < *rounds); {
		termCtx, release := context.WithCancel(ctx)
		var leads atomic.Bool
		stopped := func() {
			if leads.Swap(false) {
				say("stopped", *identity)
			}
		}
		say("campaigning", *identity)
		elector, err := leaderelection.NewLeaderElector(leaderelection.LeaderElectionConfig{
			Lock: &resourcelock.LeaseLock{
				LeaseMeta:  metav1.ObjectMeta{Namespace: *namespace, Name: *name},
				Client:     client.CoordinationV1(),
				LockConfig: resourcelock.ResourceLockConfig{Identity: *identity},
			},
			LeaseDuration:   *leaseDuration,
			RenewDeadline:   *renewDeadline,
			RetryPeriod:     *retryPeriod,
			ReleaseOnCancel: true,
			Callbacks: leaderelection.LeaderCallbacks{
				OnStartedLeading: func(leading context.Context) {
					leads.Store(true)
					say("leading", *identity)
					if *hold == 0 {
						return
					}
					select {
					case <-time.After(*hold):
						stopped() // before the release, as client-go demands it of whoever releases
						release()
					case <-leading.Done():
					}
				},
				OnStoppedLeading: stopped,
				OnNewLeader:      func(leader string) { say("observed", leader) },
			},
		})
		if err != nil {
			fail(err)
		}
		elector.Run(termCtx)
		release()
		term++
		// Let another have it: a client-go elector that campaigns at once would win against those that poll.
		select {
		case <-ctx.Done():
		case <-time.After(*retryPeriod):
		}
	}
}

func fail(err error) {
	fmt.Fprintln(os.Stderr, "leaderelection-go:", err)
	os.Exit(1)
}

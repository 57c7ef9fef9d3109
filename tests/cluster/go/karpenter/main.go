// Command karpenter runs Karpenter's own controllers on its kwok provider, which makes nodes without machines.
// It adds what EKS Auto Mode has beyond Karpenter: the labels of eks.amazonaws.com and the NodeClass.
package main

import (
	"fmt"
	"os"

	"github.com/awslabs/operatorpkg/status"
	kwok "sigs.k8s.io/karpenter/kwok/cloudprovider"
	karpenter "sigs.k8s.io/karpenter/pkg/apis/v1"
	"sigs.k8s.io/karpenter/pkg/cloudprovider"
	"sigs.k8s.io/karpenter/pkg/cloudprovider/overlay"
	"sigs.k8s.io/karpenter/pkg/controllers"
	"sigs.k8s.io/karpenter/pkg/controllers/state"
	"sigs.k8s.io/karpenter/pkg/operator"
)

// provider accepts NodeClass in nodeClassRef. kwok's Create still looks up a KWOKNodeClass of the same name, so one has
// to stand beside it.
type provider struct{ *kwok.CloudProvider }

func (p provider) GetSupportedNodeClasses() []status.Object {
	return append(p.CloudProvider.GetSupportedNodeClasses(), &NodeClass{})
}

func main() {
	registerNodeClass()
	// Karpenter takes a reserved offering only when each of its labels is well known.
	cloudprovider.ReservationIDLabel = autoMode + "/capacity-reservation-id"
	karpenter.WellKnownLabels.Insert(cloudprovider.ReservationIDLabel)
	karpenter.WellKnownLabelsForOfferings.Insert(cloudprovider.ReservationIDLabel)

	ctx, op := operator.NewOperator()
	instanceTypes, err := kwok.ConstructInstanceTypes(ctx)
	if err != nil {
		fmt.Fprintln(os.Stderr, "instance types:", err)
		os.Exit(1)
	}
	for _, instanceType := range instanceTypes {
		withAutoModeLabels(instanceType)
	}
	bare := provider{kwok.NewCloudProvider(ctx, op.GetClient(), instanceTypes)}
	decorated := overlay.Decorate(bare, op.GetClient(), op.InstanceTypeStore)
	cluster := state.NewCluster(op.Clock, op.GetClient(), decorated)
	op.WithControllers(ctx, controllers.NewControllers(ctx, op.Manager, op.Clock, op.GetClient(), op.EventRecorder,
		decorated, bare, cluster, op.InstanceTypeStore)...).Start(ctx)
}

"""What is returned to the user.

query         learned_symmetries; of gradients at hand; of data in pieces
symmetries    its report, in words and in the quantities of the paper
base          what every report says
controls      what a finding must stand beside: an untrained copy, another network
equivariance  pairs of motions of inputs and outputs; motions of solutions
layers        a report a layer
plane         image networks, by moving the images
finite        far along a movement, sample by sample
plots         pictures of reports
"""

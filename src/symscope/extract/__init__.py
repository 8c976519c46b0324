"""A network and batches of data -> rows -> sums.

extraction       the query, the one loop, where rows go
network          a network as one function of what moves
modes            eval mode, and everything put back after
checks           a few samples first: can it be differentiated, and in which mode
differences      derivatives against finite differences
differentiation  rows in reverse or forwards, as many samples at a time as fit
references       what the rows are compared with: random gradients, common motion
rows             rows on their way into sums
factor           a stream of rows as one mergeable triangle
evidence         sums of all kinds of rows in pieces of the data
tuned            every number that was chosen
"""

"""What each operation means: a file for each family, with signatures, shapes and sources."""

from dd2424.functional.activation import *
from dd2424.functional.conv import *
from dd2424.functional.creation import *
from dd2424.functional.dropout import *
from dd2424.functional.elementwise import *
from dd2424.functional.elementwise_binary import *
from dd2424.functional.embedding import *
from dd2424.functional.gemm import *
from dd2424.functional.gemm_einsum import *
from dd2424.functional.index import *
from dd2424.functional.index_reduce import *
from dd2424.functional.index_sort import *
from dd2424.functional.linear import *
from dd2424.functional.loss import *
from dd2424.functional.loss_ctc import *
from dd2424.functional.loss_distance import *
from dd2424.functional.loss_margin import *
from dd2424.functional.loss_reduction import *
from dd2424.functional.norm import *
from dd2424.functional.pool import *
from dd2424.functional.pool_composed import *
from dd2424.functional.random import *
from dd2424.functional.reduce import *
from dd2424.functional.reduce_composed import *
from dd2424.functional.shape import *
from dd2424.functional.shape_repeat import *

# gnuplot plot.gp, in this folder, draws plot.svg and plot.png from plot.dat.
set encoding utf8
do for [kind in 'svg png'] {
if (kind eq 'svg') { set terminal svg size 1200,920 font 'sans-serif,15' background 'white' }
if (kind eq 'png' && strstrt(GPVAL_TERMINALS, 'pngcairo') > 0) { set terminal pngcairo size 1200,920 font 'sans,11' background 'white' }
if (kind eq 'png' && strstrt(GPVAL_TERMINALS, 'pngcairo') == 0) { set terminal png size 1200,920 }
set output 'plot.'.kind
set multiplot layout 2,2 margins 0.085,0.97,0.07,0.9 spacing 0.1,0.15
set grid back lt 1 lw 1 lc rgb '#d8d8d8'
set border lc rgb '#404040'
set key at screen 0.5,0.985 center top vertical maxrows 1 samplen 3
set xlabel 'steps of training'
set xrange [0:200]
set title "Validation loss (band: all seeds)"
set ylabel "nats"
plot NaN with lines lc rgb '#808080' notitle, \
  'plot.dat' index 'loss off' every ::1 using 1:3:4 with filledcurves lc rgb '#000000' fs transparent solid 0.2 noborder notitle, \
  'plot.dat' index 'loss off' every ::1 using 1:2 with lines lw 2 dt 1 lc rgb '#000000' title 'Baseline', \
  'plot.dat' index 'loss planning' every ::1 using 1:3:4 with filledcurves lc rgb '#0072B2' fs transparent solid 0.2 noborder notitle, \
  'plot.dat' index 'loss planning' every ::1 using 1:2 with lines lw 2 dt 1 lc rgb '#0072B2' title 'UBÖO planning', \
  'plot.dat' index 'loss deep' every ::1 using 1:3:4 with filledcurves lc rgb '#D55E00' fs transparent solid 0.2 noborder notitle, \
  'plot.dat' index 'loss deep' every ::1 using 1:2 with lines lw 2 dt 2 lc rgb '#D55E00' title 'UBÖO deep'
unset key
set title "Validation loss less the baseline's (band: 95 % interval)"
set ylabel "nats"
plot 0 with lines lc rgb '#808080' notitle, \
  'plot.dat' index 'difference planning' every ::0 using 1:5:6 with filledcurves lc rgb '#0072B2' fs transparent solid 0.2 noborder notitle, \
  'plot.dat' index 'difference planning' every ::0 using 1:2 with lines lw 2 dt 1 lc rgb '#0072B2' title 'UBÖO planning', \
  'plot.dat' index 'difference deep' every ::0 using 1:5:6 with filledcurves lc rgb '#D55E00' fs transparent solid 0.2 noborder notitle, \
  'plot.dat' index 'difference deep' every ::0 using 1:2 with lines lw 2 dt 2 lc rgb '#D55E00' title 'UBÖO deep'
set logscale y
set format y '10^{%T}'
set title "Auxiliary loss, held-out (band: all seeds)"
set ylabel "as it enters the loss"
plot NaN with lines lc rgb '#808080' notitle, \
  'plot.dat' index 'aux planning' every ::0 using 1:3:4 with filledcurves lc rgb '#0072B2' fs transparent solid 0.2 noborder notitle, \
  'plot.dat' index 'aux planning' every ::0 using 1:2 with lines lw 2 dt 1 lc rgb '#0072B2' title 'UBÖO planning', \
  'plot.dat' index 'aux deep' every ::0 using 1:3:4 with filledcurves lc rgb '#D55E00' fs transparent solid 0.2 noborder notitle, \
  'plot.dat' index 'aux deep' every ::0 using 1:2 with lines lw 2 dt 2 lc rgb '#D55E00' title 'UBÖO deep'
unset logscale y
set format y
set title "Main and auxiliary gradient (band: all seeds)"
set ylabel "cosine of their angle"
plot NaN with lines lc rgb '#808080' notitle, \
  'plot.dat' index 'cosine planning' every ::0 using 1:3:4 with filledcurves lc rgb '#0072B2' fs transparent solid 0.2 noborder notitle, \
  'plot.dat' index 'cosine planning' every ::0 using 1:2 with lines lw 2 dt 1 lc rgb '#0072B2' title 'UBÖO planning', \
  'plot.dat' index 'cosine deep' every ::0 using 1:3:4 with filledcurves lc rgb '#D55E00' fs transparent solid 0.2 noborder notitle, \
  'plot.dat' index 'cosine deep' every ::0 using 1:2 with lines lw 2 dt 2 lc rgb '#D55E00' title 'UBÖO deep'
unset multiplot
unset output
}
